"""The encoder of per-snapshot symbols: what it sees, what it must not see, and what it is good for."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config.errors import ConfigError
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.model import Inputs, build, make_inputs
from risjax.physics.array import steering
from risjax.physics.field_of_view import view_factor
from risjax.physics.measurement import minimum_norm_images
from risjax.physics.snapshot_images import SnapshotImages, snapshot_images
from risjax.pipeline import Pipeline
from risjax.types import Observation
from tests.tiny import tiny_config

PER_SNAPSHOT: dict[str, Any] = {"physics__scene__symbols": "per_snapshot", "model__encoder": "minimum_norm"}
CONFIG = tiny_config(**PER_SNAPSHOT, precision__compute="float32")
ROUNDING = 1e-4
"""float32, after an eigendecomposition of 8 x 8 and sums of 36 terms."""


@pytest.fixture(scope="module")
def observation() -> Observation:
    """One scene."""
    batch = jax.jit(lambda: scene_batch(CONFIG.physics, 0, Purpose.TEST_SCENES, 0, 4).observation)()
    return jax.tree.map(lambda leaf: leaf[2], batch)


@jax.jit
def seen(observation: Observation) -> Inputs:
    return make_inputs(observation, CONFIG.model, CONFIG.physics)


def imaged(observation: Observation, prior: jax.Array) -> SnapshotImages:
    return jax.jit(lambda scene: snapshot_images(scene, prior, (1.0, 0.1)))(observation)


def covariance(factor: jax.Array) -> jax.Array:
    return jnp.matmul(factor, factor.conj().T, precision="highest")


def prior() -> jax.Array:
    return jnp.asarray(view_factor(CONFIG.physics))


def test_the_prior_is_the_mean_covariance_of_the_field_of_view() -> None:
    sources = jax.jit(lambda: scene_batch(CONFIG.physics, 1, Purpose.TEST_SCENES, 0, 4096).truth.sources)()
    position = np.asarray(sources.position)[np.asarray(sources.active)]
    vectors = np.asarray(jax.jit(lambda places: steering(CONFIG.physics.array, places))(position))
    mean = vectors.T @ vectors.conj() / len(position) * 36
    found = np.asarray(covariance(prior()))
    assert found.shape == (36, 36)
    assert view_factor(CONFIG.physics).shape[1] < 30, "much of the sphere is out of view"
    # 1 % of the trace is cut off, and some 6,000 drawn places leave 1 / sqrt(6000) of each entry
    chex.assert_trees_all_close(found, mean, atol=0.06)
    np.testing.assert_allclose(np.trace(found).real, 36, rtol=0.0101)


def test_images_without_a_prior_are_those_of_minimum_norm(observation: Observation) -> None:
    """With R_0 = I."""
    images = imaged(observation, jnp.eye(36, dtype=jnp.complex64))
    gram = jnp.matmul(observation.channel, observation.channel.conj().T, precision="highest")
    for rho, fields in zip((1.0, 0.1), images.fields, strict=True):
        alpha = rho * images.noise_to_signal * jnp.trace(gram).real / gram.shape[0]
        expected = jax.jit(minimum_norm_images)(observation, alpha)
        scale = jnp.max(jnp.abs(expected))
        chex.assert_trees_all_close(fields / scale, expected / scale, atol=ROUNDING)


def test_with_the_field_of_view_images_are_the_linear_estimate_of_least_error(observation: Observation) -> None:
    """Against R_0 G^H (G R_0 G^H + alpha I)^-1 y, written out."""
    images = imaged(observation, prior())
    mean = np.asarray(covariance(prior()), np.complex128)
    through = [np.asarray(observation.channel) * code for code in np.asarray(observation.codes)]
    grams = [matrix @ mean @ matrix.conj().T for matrix in through]
    level = np.mean([np.trace(gram).real / 8 for gram in grams])
    ridge = float(images.noise_to_signal) * level * np.eye(8)
    for snapshot, one, gram, field in zip(observation.snapshots, through, grams, images.fields[0], strict=True):
        expected = mean @ one.conj().T @ np.linalg.solve(gram + ridge, np.asarray(snapshot))
        np.testing.assert_allclose(field, expected, atol=1e-3 * np.abs(expected).max())


def test_features_are_the_principal_components_of_the_images(observation: Observation) -> None:
    inputs = seen(observation)
    images = imaged(observation, prior())
    rank = CONFIG.model.rank
    chex.assert_shape(inputs.features.elements, (36, 2 * 2 * rank))
    chex.assert_shape(inputs.sample_factor, (36, 8))
    largest = float(jnp.max(jnp.abs(covariance(inputs.sample_factor))))
    chex.assert_trees_all_close(
        covariance(inputs.sample_factor), covariance(images.fields[0].T) / 8, atol=1e-3 * largest
    )
    middle = [14, 15, 20, 21]
    for index, fields in enumerate(images.fields):
        real = inputs.features.elements[:, index * rank : (index + 1) * rank]
        imaginary = inputs.features.elements[:, (index + 2) * rank : (index + 3) * rank]
        columns = np.asarray(real + 1j * imaginary)
        values, vectors = np.linalg.eigh(np.asarray(covariance(fields.T), np.complex128))
        expected = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1][:, :rank]
        expected = expected / np.sqrt(np.mean(np.abs(expected) ** 2))
        found, wanted = columns @ columns.conj().T, expected @ expected.conj().T
        np.testing.assert_allclose(found, wanted, atol=1e-2 * np.abs(wanted).max())
        mean = columns[middle].sum(0)
        assert (mean.real > 0).all()
        np.testing.assert_allclose(mean.imag, 0, atol=1e-4)


def test_features_depend_neither_on_phases_nor_on_the_order_of_snapshots(observation: Observation) -> None:
    """Not by the network, and not by R_pred: the factor itself is the same."""
    network = build(CONFIG.physics.array, CONFIG.model, CONFIG.precision)
    params, apply = jax.jit(network.init)(jax.random.key(0)), jax.jit(network.apply)
    generator = np.random.default_rng(0)
    order = generator.permutation(8)
    turned = observation.snapshots * np.exp(2j * np.pi * generator.uniform(size=(8, 1))).astype(np.complex64)
    others = {
        "phases": observation._replace(snapshots=turned),
        "order": observation._replace(snapshots=observation.snapshots[order], codes=observation.codes[order]),
        "power": observation._replace(snapshots=1e3 * observation.snapshots),
    }
    plain = seen(observation)
    emitted = apply(params, jax.tree.map(lambda leaf: leaf[None], plain.features)).factor
    for name, other in others.items():
        inputs = seen(other)
        chex.assert_trees_all_close(inputs.features, plain.features, atol=ROUNDING, custom_message=name)
        found = apply(params, jax.tree.map(lambda leaf: leaf[None], inputs.features)).factor
        chex.assert_trees_all_close(list(found), list(emitted), atol=10 * ROUNDING, custom_message=name)
        if name != "power":
            ours, theirs = covariance(inputs.sample_factor), covariance(plain.sample_factor)
            chex.assert_trees_all_close(ours, theirs, atol=1e-3 * float(jnp.max(jnp.abs(theirs))), custom_message=name)
    mixed = seen(observation._replace(snapshots=observation.snapshots[order]))
    assert jnp.max(jnp.abs(mixed.features.elements - plain.features.elements)) > 0.1, "each snapshot has its own code"


@pytest.mark.parametrize("ratio_db", [-15.0, 0.0, 10.0])
def test_the_ridge_of_a_white_field_is_the_noise_level(observation: Observation, ratio_db: float) -> None:
    """Within the standard error of 64 scenes; the channel's own spread decides how much a scene says."""
    keys = jax.random.split(jax.random.key(1), 2)
    fields = jax.random.normal(keys[0], (64, 8, 36), jnp.complex64)
    noise = jax.random.normal(keys[1], (64, 8, 8), jnp.complex64)
    clean = jnp.matmul(observation.codes[None] * fields, observation.channel.T)
    identity = jnp.eye(36, dtype=jnp.complex64)
    scale = jnp.sqrt(jnp.mean(jnp.abs(clean) ** 2) * 10 ** (ratio_db / 10))
    scenes = jax.vmap(lambda y: snapshot_images(observation._replace(snapshots=y), identity, (1.0,)).noise_to_signal)
    found_db = 10 * np.log10(np.asarray(jax.jit(scenes)(clean + scale * noise)))
    error = np.median(found_db) - ratio_db
    assert abs(error) < 3.0 * max(found_db.std(), 1.0) / 8 + 0.5


def test_features_of_an_empty_scene_are_zero(observation: Observation) -> None:
    inputs = seen(observation._replace(snapshots=jnp.zeros_like(observation.snapshots)))
    chex.assert_tree_all_finite(inputs)
    assert not jnp.any(inputs.features.elements)


def test_the_pipeline_uses_peaks_without_a_likelihood() -> None:
    sections = CONFIG.physics, CONFIG.precision, CONFIG.model, CONFIG.estimator
    pipeline = Pipeline(*sections)
    assert not pipeline.has_likelihood
    scenes = jax.eval_shape(lambda: scene_batch(CONFIG.physics, 0, Purpose.TEST_SCENES, 0, 2))
    params = jax.eval_shape(build(CONFIG.physics.array, CONFIG.model, CONFIG.precision).init, jax.random.key(0))
    _, effective = jax.eval_shape(lambda p, o: pipeline.covariance(p, o, CONFIG.covariance), params, scenes.observation)
    chex.assert_shape(effective.factor, (2, 36, CONFIG.model.rank + 8))
    with pytest.raises(ValueError, match="a fit of candidates to the snapshots needs one coherent field"):
        jax.eval_shape(pipeline.propose, scenes.observation, effective)
    _, found = jax.eval_shape(lambda p, o: pipeline.sources(p, o, CONFIG.covariance), params, scenes.observation)
    chex.assert_shape(found.position, (2, 2, 3))
    constant = tiny_config(model__encoder="minimum_norm")
    assert Pipeline(constant.physics, *sections[1:]).has_likelihood, "coherent snapshots have a covariance, too"


def test_configurations_that_cannot_be_learned_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.encoder to minimum_norm"):
        tiny_config(physics__scene__symbols="per_snapshot")
    with pytest.raises(ConfigError, match=r"(?s)train\.posterior\.scenes.*expected 0: the posterior head judges fits"):
        tiny_config(**PER_SNAPSHOT, train__posterior__scenes=64)
    assert tiny_config(**PER_SNAPSHOT).model.encoder == "minimum_norm"
