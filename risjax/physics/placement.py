"""Where the sources are: uniform in azimuth, elevation and range, optionally kept apart in angle."""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from risjax.config import SceneConfig
from risjax.physics.array import cartesian
from risjax.physics.channel import scale

NUM_CANDIDATES = 64
"""Places drawn for a slot, of which the first far enough from the earlier slots is taken."""


def draw_positions(key: Key[Array, ""], scene: SceneConfig, dtype: DTypeLike = jnp.float32) -> Float[Array, "K 3"]:
    """(azimuth [rad], elevation [rad], range [m]) of K_max sources.

    With ``min_separation_deg`` each slot takes the first of 64 uniform draws that keeps the angle to all earlier slots.
    The config's check of the field of view leaves a quarter of it free, so that none does once in 1e8 slots; then the
    draw that comes nearest is taken.
    """
    if scene.min_separation_deg == 0:
        return _uniform_positions(key, scene, (scene.max_sources,), dtype)
    candidates = _uniform_positions(key, scene, (scene.max_sources, NUM_CANDIDATES), dtype)
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


def _uniform_positions(
    key: Key[Array, ""], scene: SceneConfig, shape: tuple[int, ...], dtype: DTypeLike
) -> Float[Array, "*shape 3"]:
    unit = jax.random.uniform(key, (*shape, 3), dtype)
    return jnp.stack(
        [
            jnp.deg2rad(scale(unit[..., 0], scene.azimuth_deg)),
            jnp.deg2rad(scale(unit[..., 1], scene.elevation_deg)),
            scale(unit[..., 2], scene.range_m),
        ],
        axis=-1,
    )
