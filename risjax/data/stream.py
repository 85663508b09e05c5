"""Endless, addressable streams of scenes, made on the device.

Scene j of batch i of a purpose has the key fold_in(fold_in(fold_in(seed, purpose), i), j): purposes are
disjoint by construction, batches can be drawn in any order and repeatedly, and a resumed run draws the scenes of an
uninterrupted one.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer, Key

from risjax.config import PhysicsConfig
from risjax.config.physics import SIMULATORS
from risjax.keys import Purpose, purpose_key
from risjax.physics.scene import DrawScene
from risjax.registry import implementation_of
from risjax.runs.compiler_options import run_once
from risjax.types import Scene


def scene_batch(
    physics: PhysicsConfig,
    seed: int | Integer[Array, ""],
    purpose: Purpose | Integer[Array, ""],
    index: int | Integer[Array, ""],
    batch_size: int,
    *,
    first: int | Integer[Array, ""] = 0,
) -> Scene:
    """Batch ``index`` of the stream (seed, purpose): a Scene with a leading axis of ``batch_size``.

    Jit-able with ``physics`` and ``batch_size`` static; the other arguments may be traced.
    Scenes of a batch do not depend on its size: from position ``first`` on, ``batch_size`` of them are those of the
    larger batch.
    """
    return draw_scenes(physics, purpose_key(seed, purpose, index), first + jnp.arange(batch_size))


def draw_batch(physics: PhysicsConfig, seed: int, purpose: Purpose, index: int, batch_size: int) -> Scene:
    """Return `scene_batch`, compiled once for all purposes, for scenes that are drawn a few times in a run.

    The program is compiled without optimisations: 0.5 instead of 2.6 s, and 0.4 ms a scene more (quick.yaml).
    """
    numbers = (np.uint32(number) for number in (seed, purpose, index))
    return _compiled(physics, batch_size)(*numbers)


@functools.lru_cache(maxsize=8)
def _compiled(physics: PhysicsConfig, batch_size: int) -> Callable[..., Scene]:
    def draw_batch(seed: Array, purpose: Array, index: Array) -> Scene:
        return scene_batch(physics, seed, purpose, index, batch_size)

    return jax.jit(draw_batch, compiler_options=run_once())


def draw_scenes(physics: PhysicsConfig, key: Key[Array, ""], positions: Integer[Array, " S"]) -> Scene:
    """Scenes at some positions of the batch of a key: a Scene with a leading axis S."""
    draw: DrawScene = implementation_of(SIMULATORS[physics.simulator])
    keys = jax.vmap(lambda position: jax.random.fold_in(key, position))(positions)
    return jax.vmap(lambda scene_key: draw(scene_key, physics))(keys)
