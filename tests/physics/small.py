"""Scenes of a small surface, for tests of their laws and of impairments."""

import jax
import numpy as np

from risjax.config import ArrayConfig, ChannelConfig, CodebookConfig, PhysicsConfig
from risjax.physics.scene import draw_numbers, draw_scene, make_sources
from risjax.types import Scene, Sources

SMALL = PhysicsConfig(
    array=ArrayConfig(num_horizontal=6, num_vertical=6),
    channel=ChannelConfig(num_antennas=8),
    codebook=CodebookConfig(num_snapshots=9),
)
# Kolmogorov-Smirnov p-values below this fail; with fixed seeds a pass stays a pass
SIGNIFICANCE = 1e-3


def small_scenes(physics: PhysicsConfig, count: int = 400) -> Scene:
    keys = jax.random.split(jax.random.key(0), count)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: draw_scene(key, physics)))(keys))


def small_sources(key: jax.Array, physics: PhysicsConfig) -> Sources:
    uniform, normal = jax.random.split(key)
    return make_sources(draw_numbers(uniform, normal, physics), physics)


def small_with(**sections: dict) -> PhysicsConfig:
    return PhysicsConfig.model_validate(
        SMALL.model_dump() | {name: getattr(SMALL, name).model_dump() | values for name, values in sections.items()}
    )
