"""Prior covariance R_0 of the field of a source within the field of view.

    R_0 = E[a(phi, theta, r) a(phi, theta, r)^H],    phi, theta and r uniform over the field of view, trace N

The default field of view contains half of the directions in front of the surface: 87 of the 144 eigenvalues of R_0
hold 99 % of its trace. The receiver knows the field of view, to which all searches are restricted. R_0 does not depend
on K, powers or SNR.
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
"""Share of the trace of R_0 in its factor."""

_POINTS = (48, 24, 12)
"""Numbers of azimuths, elevations and ranges of the quadrature, midpoints of equal cells."""


def view_factor(physics: PhysicsConfig) -> Complex[np.ndarray, "N r"]:
    """B with R_0 = B B^H up to 1 % of its trace; complex64 on the host, computed once for each field of view.

    The columns are one of many bases and differ between machines, so features of a network may depend on R_0 only.
    """
    return _factor(physics.array, *_law(physics.scene))


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
    # May be called while a program is traced, under a transfer guard: computed at once, outside of that program.
    with jax.ensure_compile_time_eval(), jax.transfer_guard("allow"):
        for range_m_at in ranges:
            position = np.stack(np.broadcast_arrays(azimuth[:, None], elevation[None, :], range_m_at), axis=-1)
            vectors = steering(array, jnp.asarray(position.reshape(-1, 3), jnp.float32))
            block = np.asarray(vectors, np.complex128)
            mean += block.T @ block.conj()
    values, vectors = np.linalg.eigh(mean * (array.num_elements / np.trace(mean).real))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    count = int(np.searchsorted(np.cumsum(values), KEPT * values.sum())) + 1
    return (vectors[:, :count] * np.sqrt(values[:count])).astype(np.complex64)


def _midpoints(low: float, high: float, count: int) -> Float[np.ndarray, " count"]:
    return low + (high - low) * (np.arange(count) + 0.5) / count
