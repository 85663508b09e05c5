"""Positions of sources: uniform in azimuth, elevation and range, with an optional minimum separation in angle."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from risjax.config import SceneConfig
from risjax.physics.array import cartesian
from risjax.physics.distributions import scale

NUM_CANDIDATES = 64
"""Candidate positions of a slot if a minimum separation is configured."""


def num_candidates(scene: SceneConfig) -> int:
    """Number of candidate positions of a slot."""
    return NUM_CANDIDATES if scene.min_separation_deg else 1


def place(unit: Float[Array, "K candidates 3"], scene: SceneConfig) -> Float[Array, "K 3"]:
    """(azimuth [rad], elevation [rad], range [m]) of K_max sources.

    With ``min_separation_deg`` each slot takes the first of its candidates at that angle or more from all earlier
    slots. The configuration guarantees that a quarter of the field of view remains free, so that all 64 candidates fail
    once in 1e8 slots; then the candidate with the largest separation is taken.

    Args:
        unit: uniform draws on [0, 1), `num_candidates` a slot.
        scene: distribution of the positions.
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
    for slot in range(scene.max_sources):  # unrolled: each of the K_max slots depends on the earlier ones
        index = jnp.zeros((), int)
        if taken:
            cosines = jnp.matmul(directions[slot], jnp.stack(taken).T, precision="highest")
            nearest = jnp.max(cosines, axis=-1)
            allowed = nearest <= highest_cosine
            index = jnp.where(allowed.any(), jnp.argmax(allowed), jnp.argmin(nearest))
        chosen.append(candidates[slot, index])
        taken.append(directions[slot, index])
    return jnp.stack(chosen)
