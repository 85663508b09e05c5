"""Distribution of the sources as the criteria of a code design use it.

====== ======================================================================= ========= ====
symbol meaning                                                                 shape     unit
====== ======================================================================= ========= ====
B      factor of R_0 = B B^H, mean covariance of fields in the field of view,  [N, r]    1
       of trace N (`risjax.physics.field_of_view`)
D_p    steering vector of position p and its derivatives by azimuth,           [N, 4]    1/rad,
       elevation and range                                                               1/m
Lambda inverse variances of the uniform laws of azimuth, elevation and range   [3]       1/rad^2,
                                                                                         1/m^2
s      signal-to-noise ratio of the transmitted power                          [Q]       1
rho    that of the field of covariance R_0, the geometric mean of s over the   []        1
       mean number of sources
====== ======================================================================= ========= ====
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Key

from risjax.config import PhysicsConfig
from risjax.physics.array import steering
from risjax.physics.field_of_view import view_factor

NUM_SNRS = 4
"""Signal-to-noise ratios of the position criteria, midpoints of equal parts of ``scene.snr_db``."""


class DesignPrior(NamedTuple):
    """Sample of the distribution of the sources.

    Attributes:
        factor: B, [N, r].
        columns: D_p of P positions, [P, N, 4].
        range_m: range of each position, [P].
        precision: Lambda, [3].
        snr: s, [Q].
        field_snr: rho, [].
    """

    factor: Complex[Array, "N r"]
    columns: Complex[Array, "*steps P N 4"]
    range_m: Float[Array, "*steps P"]
    precision: Float[Array, "3"]
    snr: Float[Array, " Q"]
    field_snr: Float[Array, ""]


def design_prior(key: Key[Array, ""], physics: PhysicsConfig, steps: int, positions: int) -> DesignPrior:
    """Return a prior with ``positions`` new positions for each of ``steps`` steps, float32 and complex64."""
    scene = physics.scene
    low, high = position_bounds(physics)
    unit = jax.random.uniform(key, (steps * positions, 3))
    position = low[None, :] + unit * (high - low)[None, :]

    def vector(point: Float[Array, "3"]) -> Complex[Array, " N"]:
        return steering(physics.array, point)

    vectors = jax.vmap(vector)(position)
    derivatives = jax.vmap(jax.jacfwd(vector))(position)
    columns = jnp.concatenate([vectors[:, :, None], derivatives], axis=-1)
    least, most = scene.snr_db
    snr_db = least + (most - least) * (jnp.arange(NUM_SNRS) + 0.5) / NUM_SNRS
    return DesignPrior(
        jnp.asarray(view_factor(physics)),
        columns.reshape(steps, positions, *columns.shape[1:]),
        position[:, 2].reshape(steps, positions),
        12.0 / jnp.maximum(high - low, 1e-6) ** 2,
        10.0 ** (snr_db / 10),
        jnp.asarray(10.0 ** ((least + most) / 20) * 2 / sum(scene.num_sources), jnp.float32),
    )


def position_bounds(physics: PhysicsConfig) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Least and greatest azimuth [rad], elevation [rad] and range [m]."""
    scene = physics.scene
    angles = [(math.radians(low), math.radians(high)) for low, high in (scene.azimuth_deg, scene.elevation_deg)]
    low, high = zip(*angles, scene.range_m, strict=True)
    return jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)
