"""Where the sources are: uniform in azimuth, elevation and range, optionally kept apart in angle."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from risjax.config import SceneConfig
from risjax.physics.array import cartesian
from risjax.physics.distributions import scale

NUM_CANDIDATES = 64
"""Places drawn for a slot, of which the first far enough from the earlier slots is taken."""


def num_candidates(scene: SceneConfig) -> int:
    """Places to be drawn for a slot."""
    return NUM_CANDIDATES if scene.min_separation_deg else 1


def place(unit: Float[Array, "K candidates 3"], scene: SceneConfig) -> Float[Array, "K 3"]:
    """(azimuth [rad], elevation [rad], range [m]) of K_max sources.

    With ``min_separation_deg`` each slot takes the first of its candidates that keeps the angle to all earlier slots.
    The config's check of the field of view leaves a quarter of it free, so that none of 64 does once in 1e8 slots; then
    the one that comes nearest is taken.

    Args:
        unit: uniform draws on [0, 1), `num_candidates` a slot.
        scene: the law.
    """
    candidates = jnp.stack(
        [
            jnp.deg2rad(scale(unit[..., 0], scene.azimuth_deg)),
            jnp.deg2rad(scale(unit[..., 1], scene.elevation_deg)),
            scale(unit[..., 2], scene.range_m),
        ],
        axis=-1,
    )
    if scene.min_separation_deg == 0:
        return candidates[:, 0]
    directions = cartesian(candidates.at[..., 2].set(1.0))
    highest_cosine = math.cos(math.radians(scene.min_separation_deg))
    chosen: list[Array] = []
    taken: list[Array] = []
    for slot in range(scene.max_sources):  # unrolled: K_max slots, each needs those before it
        index = jnp.zeros((), int)
        if taken:
            cosines = jnp.matmul(directions[slot], jnp.stack(taken).T, precision="highest")
            nearest = jnp.max(cosines, axis=-1)
            allowed = nearest <= highest_cosine
            index = jnp.where(allowed.any(), jnp.argmax(allowed), jnp.argmin(nearest))
        chosen.append(candidates[slot, index])
        taken.append(directions[slot, index])
    return jnp.stack(chosen)
