"""The network's inputs: shapes and dtypes, scale, and the contract at the door."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.model import make_inputs
from risjax.types import Observation
from tests.tiny import tiny_config

CONFIG = tiny_config()


@pytest.fixture(scope="module")
def observations() -> Observation:
    return jax.jit(lambda: scene_batch(CONFIG.physics, 0, Purpose.TEST_SCENES, 0, 4).observation)()


def test_shapes_dtypes_unit_rms_and_invariance_to_the_received_power(observations):
    inputs = jax.jit(jax.vmap(lambda scene: make_inputs(scene, CONFIG.model, CONFIG.physics)))
    seen = inputs(observations)
    channels = 2 * (1 + len(CONFIG.model.extra_regularisation))
    chex.assert_shape(seen.features.elements, (4, 36, channels))
    chex.assert_shape(seen.sample_factor, (4, 36, 1))
    chex.assert_type(list(seen.features), jnp.float32)
    chex.assert_tree_all_finite(seen)
    np.testing.assert_allclose(jnp.sum(seen.features.elements**2, axis=(1, 2)), 36 * channels / 2, rtol=1e-4)
    louder = inputs(observations._replace(snapshots=1e3 * observations.snapshots))
    chex.assert_trees_all_close(louder.features, seen.features, atol=1e-3)


def test_an_observation_of_mismatched_shapes_is_refused_by_name(observations):
    scene = jax.tree.map(lambda leaf: leaf[0], observations)
    with pytest.raises(AssertionError, match="codes must be"):
        make_inputs(scene._replace(codes=scene.codes[:-1]), CONFIG.model, CONFIG.physics)
    with pytest.raises(AssertionError, match="vmap for a batch"):
        make_inputs(observations, CONFIG.model, CONFIG.physics)
