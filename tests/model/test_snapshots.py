"""The network of the original's shape: what it is shown, its doors, and what it cannot tell apart."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.model import build, make_inputs
from risjax.physics.images import noise_to_signal
from tests.tiny import tiny_config

CONFIG = tiny_config(model__encoder="snapshots")
BATCH = 3


@pytest.fixture(scope="module")
def inputs():
    @jax.jit
    def make():
        observations = scene_batch(CONFIG.physics, 0, Purpose.TRAIN_SCENES, 0, BATCH).observation
        made = jax.vmap(lambda observation: make_inputs(observation, CONFIG.model, CONFIG.physics))(observations)
        return observations, made

    return make()


def test_features_are_the_scaled_snapshots_and_the_channel_behind_each_code(inputs):
    observation, (features, sample) = inputs
    received = features.received[..., 0] + 1j * features.received[..., 1]
    scaled = np.asarray(observation.snapshots)
    scaled = scaled / np.sqrt(np.mean(np.abs(scaled) ** 2, axis=(1, 2), keepdims=True))
    turn = np.sum(received * scaled.conj(), axis=(1, 2), keepdims=True) / received[0].size  # a global phase
    np.testing.assert_allclose(np.abs(turn), 1, rtol=1e-4)
    np.testing.assert_allclose(received, scaled * turn, atol=1e-4)
    ratio = jax.jit(jax.vmap(noise_to_signal))(observation)
    np.testing.assert_allclose(10.0 ** features.context[:, 0], ratio, rtol=1e-3)
    passed = features.passed[..., 0] + 1j * features.passed[..., 1]
    expected = np.einsum("bmn,bln->blm", observation.channel, observation.codes)
    unit = expected / np.sqrt(np.mean(np.abs(expected) ** 2, axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(passed, unit, atol=1e-4)
    assert sample.shape == (BATCH, 36, 1)


@pytest.mark.parametrize("encoder", ["snapshots", "backprojection"])
def test_features_depend_neither_on_units_nor_on_a_global_phase(inputs, encoder: str):
    observation = inputs[0]
    model = CONFIG.model.model_copy(update={"encoder": encoder})
    features = jax.jit(jax.vmap(lambda scene: make_inputs(scene, model, CONFIG.physics).features))
    other = observation._replace(
        snapshots=observation.snapshots * np.complex64(3e-7 * np.exp(2j)), channel=observation.channel * np.float32(5e4)
    )
    chex.assert_trees_all_close(features(other), features(observation), atol=1e-3)


def test_an_empty_scene_has_finite_features(inputs):
    single = jax.tree.map(lambda leaf: leaf[0], inputs[0])
    empty = single._replace(snapshots=jnp.zeros_like(single.snapshots))
    features = jax.jit(lambda scene: make_inputs(scene, CONFIG.model, CONFIG.physics).features)(empty)
    assert all(np.isfinite(leaf).all() for leaf in features)


@pytest.mark.parametrize("compute", ["float32", "float16"])
def test_shapes_dtypes_and_no_dead_parameter(inputs, compute):
    network = build(CONFIG.physics.array, CONFIG.model, CONFIG.precision.model_copy(update={"compute": compute}))
    params = jax.jit(network.init)(jax.random.key(1))
    prediction = jax.jit(network.apply)(params, inputs[1].features)
    chex.assert_shape(list(prediction.factor), (BATCH, 36, CONFIG.model.rank))
    chex.assert_type(list(prediction.factor), jnp.float32)
    assert set(params) == {"encoder", "head"}

    def energy(params):
        return sum(jnp.sum(part**2) for part in network.apply(params, inputs[1].features).factor)

    if compute == "float32":  # half of the original's parameters never got a gradient
        gradient = jax.jit(jax.grad(energy))(params)
        assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))


def test_codes_and_snapshots_are_pooled_separately(inputs):
    """Snapshots in one order and their codes in another: the same answer, which is why it cannot learn to invert H."""
    network = build(CONFIG.physics.array, CONFIG.model, CONFIG.precision.model_copy(update={"compute": "float32"}))
    params, features, apply = jax.jit(network.init)(jax.random.key(1)), inputs[1].features, jax.jit(network.apply)
    other = features._replace(codes=features.codes[:, ::-1], passed=features.passed[:, ::-1])
    chex.assert_trees_all_close(apply(params, features), apply(params, other), atol=1e-5)
