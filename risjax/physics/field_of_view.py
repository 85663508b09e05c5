"""What is known of a field before anything is received: its sources lie within the field of view.

    R_0 = E[a(phi, theta, r) a(phi, theta, r)^H],    phi, theta and r uniform over the field of view, trace N

Half of the directions in front of the surface are outside the default one: R_0 has 99 % of its trace in 87 of its 144
eigenvalues. The law is the receiver's own (`risjax.estimators` search nowhere else); K, powers and SNR are not in it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from risjax.config import ArrayConfig, PhysicsConfig, SceneConfig
from risjax.physics.array import steering

Interval = tuple[float, float]

KEPT = 0.99
"""Share of the trace of R_0 that its factor keeps."""

_POINTS = (48, 24, 12)
"""Azimuths, elevations and ranges of the quadrature, midpoints of equal cells."""


def view_factor(physics: PhysicsConfig) -> Complex[np.ndarray, "N r"]:
    """B with R_0 = B B^H but for a hundredth of its trace; complex64, on the host, made once for a field of view.

    Its columns are a basis like any other: only R_0 itself may enter what is shown to a network, or a network would
    know the machine it was trained on.
    """
    # pyright does not see that pydantic makes frozen sections hashable
    return _factor(physics.array, *_law(physics.scene))  # pyright: ignore[reportArgumentType]


def _law(scene: SceneConfig) -> tuple[Interval, Interval, Interval]:
    return scene.azimuth_deg, scene.elevation_deg, scene.range_m


@functools.lru_cache(maxsize=8)
def _factor(
    array: ArrayConfig,
    azimuth_deg: tuple[float, float],
    elevation_deg: tuple[float, float],
    range_m: tuple[float, float],
) -> Complex[np.ndarray, "N r"]:
    azimuth, elevation = (
        np.radians(_midpoints(*interval, count))
        for interval, count in zip((azimuth_deg, elevation_deg), _POINTS[:2], strict=True)
    )
    ranges = _midpoints(*range_m, _POINTS[2])
    mean = np.zeros((array.num_elements,) * 2, np.complex128)
    # Asked for while a program is traced, under a guard of transfers: this is work of its own, done now.
    with jax.ensure_compile_time_eval(), jax.transfer_guard("allow"):
        for one in ranges:
            position = np.stack(np.broadcast_arrays(azimuth[:, None], elevation[None, :], one), axis=-1)
            vectors = steering(array, jnp.asarray(position.reshape(-1, 3), jnp.float32))
            block = np.asarray(vectors, np.complex128)
            mean += block.T @ block.conj()
    values, vectors = np.linalg.eigh(mean * (array.num_elements / np.trace(mean).real))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    count = int(np.searchsorted(np.cumsum(values), KEPT * values.sum())) + 1
    return (vectors[:, :count] * np.sqrt(values[:count])).astype(np.complex64)


def _midpoints(low: float, high: float, count: int) -> Float[np.ndarray, " count"]:
    return low + (high - low) * (np.arange(count) + 0.5) / count
