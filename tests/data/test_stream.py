"""Streams of scenes: indices, disjointness, resumption."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ImpairmentsConfig, PhysicsConfig
from risjax.data.stream import draw_batch, scene_batch
from risjax.keys import Purpose, purpose_key
from risjax.physics.scene import draw_scene
from tests.data.small import TINY


@pytest.fixture(scope="module")
def draw():
    return jax.jit(lambda seed, index: scene_batch(TINY, seed, Purpose.TRAIN_SCENES, index, 8))


def test_a_batch_is_the_same_at_every_draw(draw):
    later = draw(3, 7)
    draw(3, 2)
    jax.tree.map(np.testing.assert_array_equal, draw(3, 7), later)
    assert not np.array_equal(later.observation.snapshots, draw(3, 8).observation.snapshots)
    assert not np.array_equal(later.observation.snapshots, draw(4, 7).observation.snapshots)


def test_the_first_scenes_of_a_batch_do_not_depend_on_its_size(draw):
    small = jax.jit(lambda: scene_batch(TINY, 3, Purpose.TRAIN_SCENES, 7, 3))()
    first = jax.tree.map(lambda leaf: leaf[:3], draw(3, 7))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), small, first)


def test_a_batch_drawn_by_the_shared_program_is_that_of_the_stream(draw):
    jax.tree.map(
        lambda shared, alone: np.testing.assert_allclose(shared, alone, rtol=1e-4, atol=1e-5),
        draw_batch(TINY, 3, Purpose.TRAIN_SCENES, 7, 8),
        draw(3, 7),
    )


def test_scenes_are_made_in_float32_with_a_leading_batch_axis(draw):
    scene = draw(0, 0)
    assert scene.observation.snapshots.shape == (8, 4, 2)
    assert {leaf.dtype for leaf in jax.tree.leaves(scene)} == {jnp.dtype(d) for d in ("complex64", "float32", "bool")}


def test_purposes_share_no_scene_among_a_hundred_thousand():
    """Hashes of 25,000 scenes of each of four purposes, snapshots, channel and sources, all different."""
    purposes = (Purpose.TRAIN_SCENES, Purpose.VALIDATION_SCENES, Purpose.TEST_SCENES, Purpose.CALIBRATION_SCENES)

    @jax.jit
    def scenes(key: jax.Array, index: jax.Array) -> list[jax.Array]:
        batch_key = jax.random.fold_in(key, index)
        keys = jax.vmap(lambda position: jax.random.fold_in(batch_key, position))(jnp.arange(2500))
        scene = jax.vmap(lambda key: draw_scene(key, TINY))(keys)
        return [scene.observation.snapshots, scene.observation.channel, scene.truth.sources.position]

    seen: list[set[bytes]] = [set(), set(), set()]
    for purpose in purposes:
        for index in range(10):
            parts = scenes(jax.random.fold_in(jax.random.key(0), int(purpose)), index)
            for hashes, part in zip(seen, parts, strict=True):
                hashes |= {hashlib.sha256(row.tobytes()).digest() for row in np.asarray(part)}
    assert [len(hashes) for hashes in seen] == [100_000] * 3


def test_the_keys_above_are_those_of_the_stream():
    key = jax.random.fold_in(purpose_key(0, Purpose.TEST_SCENES, 2), 1)
    expected = jax.random.fold_in(
        jax.random.fold_in(jax.random.fold_in(jax.random.key(0), int(Purpose.TEST_SCENES)), 2), 1
    )
    np.testing.assert_array_equal(jax.random.key_data(key), jax.random.key_data(expected))


@pytest.mark.slow
@pytest.mark.parametrize("impaired", [False, True])
def test_large_batches_hold_the_scenes_that_are_drawn_alone(impaired):
    """A compiler's fusions change with the batch: jaxlib 0.10.2 gave wrong channels behind the 14th scene."""
    strong = ImpairmentsConfig(position_jitter=0.05, phase_error_deg=5.0, clutter_db=-20.0)
    physics = PhysicsConfig(impairments=strong if impaired else ImpairmentsConfig())
    together = jax.jit(lambda: scene_batch(physics, 0, Purpose.TEST_SCENES, 0, 64))()
    key = purpose_key(0, Purpose.TEST_SCENES, 0)
    alone = jax.jit(lambda index: draw_scene(jax.random.fold_in(key, index), physics))
    for index in (0, 13, 14, 15, 40, 63):
        for many, single in zip(jax.tree.leaves(together), jax.tree.leaves(alone(index)), strict=True):
            scale = float(np.abs(single).max()) or 1.0
            np.testing.assert_allclose(many[index], single, atol=1e-4 * scale)
