"""Training, validation and evaluation use the same effective covariance."""

import importlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.covariance import dense
from risjax.data.stream import scene_batch
from risjax.experiments.evaluate.methods import Batch, make_method
from risjax.keys import Purpose
from risjax.linalg import LowRankCovariance
from risjax.loss import make_labels, total_loss
from risjax.model import make_inputs
from risjax.physics.array import element_positions
from risjax.pipeline import Pipeline, compiled_pipeline
from risjax.train import Trainer
from risjax.train.settings import make_settings
from risjax.types import Geometry
from tests.tiny import tiny_config

CONFIG = tiny_config(covariance__blend=0.3, covariance__loading=0.05)
SECTIONS = CONFIG.physics, CONFIG.precision, CONFIG.model, CONFIG.estimator


@pytest.fixture(scope="module")
def trained():
    params = Trainer(CONFIG).init().params
    return params, jax.jit(lambda: scene_batch(CONFIG.physics, 0, Purpose.TEST_SCENES, 0, 4))()


def test_loss_uses_the_covariance_of_inference(trained, monkeypatch):
    params, batch = trained
    probe = jax.random.normal(jax.random.key(5), (36, 36))

    def fingerprint(covariance, *_):
        return jnp.sum(probe * dense(covariance).real)

    term = importlib.import_module("risjax.loss.projector_distance")  # the package exports the function by that name
    monkeypatch.setattr(term, "projector_distance", fingerprint)
    trainer = Trainer(CONFIG)
    settings = make_settings(CONFIG)

    @jax.jit
    def of_the_loss(params, batch):
        inputs = jax.vmap(lambda observation: make_inputs(observation, CONFIG.model, CONFIG.physics))(batch.observation)
        prediction = trainer.program.network.apply(params, inputs.features)
        labels = make_labels(batch, inputs.sample_factor)
        return total_loss(prediction, labels, settings.loss, settings.covariance, CONFIG.precision)

    @jax.jit
    def of_the_pipeline(params, batch):
        _, effective = Pipeline(*SECTIONS).covariance(params, batch.observation, CONFIG.covariance)
        return jax.vmap(fingerprint)(effective)

    seen, expected = of_the_loss(params, batch), of_the_pipeline(params, batch)
    np.testing.assert_allclose(seen.terms["projector"], expected, rtol=1e-4, atol=1e-3)
    assert np.ptp(expected) > 1.0, "the probe tells scenes apart"


def test_validation_and_evaluation_localise_alike(trained):
    params, batch = trained
    pipeline = Pipeline(*SECTIONS)
    _, expected = jax.jit(lambda p, o: pipeline.sources(p, o, CONFIG.covariance))(params, batch.observation)
    programs = compiled_pipeline(*SECTIONS)
    _, validated = programs.sources(params, batch.observation, make_settings(CONFIG).covariance)
    method = make_method(CONFIG, CONFIG.physics, "learned_ml", params)
    evaluated = method(Batch(batch.observation, None, None))
    for found in (validated, evaluated.estimates):
        np.testing.assert_array_equal(found.active, expected.active)
        chex.assert_trees_all_close(found.position, expected.position, atol=2e-2)


def test_networks_of_other_architectures_share_the_programs_after_the_network():
    """A search compiles the fits once, however many architectures it tries."""
    first = compiled_pipeline(*SECTIONS)
    other = tiny_config(model__width=8, model__layers=2, precision__compute="float32", train__learning_rate=0.5)
    second = compiled_pipeline(other.physics, other.precision, other.model, other.estimator)
    assert second.covariance is not first.covariance
    for name in ("propose", "decide", "fitted", "peaks", "spectral"):
        assert getattr(second, name) is getattr(first, name), f"{name} is compiled again for another network"
    wider = tiny_config(model__posterior_width=8)
    third = compiled_pipeline(wider.physics, wider.precision, wider.model, wider.estimator)
    assert third.decide is not first.decide, "the head is part of this program"


SURFACES = tiny_config(
    physics__impairments__position_jitter=0.3,
    physics__impairments__known=["position_jitter"],
    physics__scene__snr_db=[25.0, 30.0],
    physics__scene__range_m=[0.5, 2.0],
    physics__scene__num_sources=[1, 1],
)


def test_candidates_and_spectra_are_on_the_scenes_own_surface_and_the_network_is_blind_to_it(trained):
    """With the true covariance for R_eff: sources are where they are, or off by degrees without the geometry."""
    params, _ = trained
    batch = jax.jit(lambda: scene_batch(SURFACES.physics, 0, Purpose.TEST_SCENES, 0, 8))()
    pipeline = Pipeline(SURFACES.physics, SURFACES.precision, SURFACES.model, SURFACES.estimator)
    true_r = LowRankCovariance(batch.truth.label_factor, jnp.full(8, 1e-3))
    plane = jnp.asarray(element_positions(SURFACES.physics.array), jnp.float32)
    nominal = batch.observation._replace(geometry=Geometry(jnp.stack([plane] * 8), None))

    @jax.jit
    def run(observation):
        _, effective = pipeline.covariance(params, observation, SURFACES.covariance)
        fitted = pipeline.decide({}, pipeline.propose(observation, true_r))
        return effective, fitted, pipeline.localise(true_r, observation.geometry)

    known, blind = run(batch.observation), run(nominal)
    chex.assert_trees_all_equal(known[0], blind[0])
    truth = np.rad2deg(batch.truth.sources.position[:, 0])
    for of_known, of_blind in zip(known[1:], blind[1:], strict=True):
        missed = [np.abs(np.rad2deg(e.position[:, 0]) - truth)[:, :2].max(1) for e in (of_known, of_blind)]
        assert np.median(missed[0]) < 0.2
        assert np.median(missed[1]) > 5 * np.median(missed[0])
