"""Training, validation and evaluation look at one and the same effective covariance."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.covariance import dense
from risjax.data.stream import scene_batch
from risjax.evaluate.methods import Batch, make_method
from risjax.keys import Purpose
from risjax.loss import make_labels, total_loss
from risjax.loss import total as total_module
from risjax.model import make_inputs
from risjax.pipeline import make_pipeline
from risjax.train import Trainer
from risjax.train.settings import make_settings
from risjax.train.validation import _make_measure
from tests.tiny import tiny_config

CONFIG = tiny_config(covariance__blend=0.3, covariance__shrinkage=0.2, covariance__loading=0.05)
SECTIONS = CONFIG.physics, CONFIG.precision, CONFIG.model, CONFIG.estimator


@pytest.fixture(scope="module")
def trained():
    params = Trainer(CONFIG).init().params
    return params, scene_batch(CONFIG.physics, 0, Purpose.TEST_SCENES, 0, 4)


def test_the_loss_judges_the_covariance_that_inference_uses(trained, monkeypatch):
    params, batch = trained
    probe = jax.random.normal(jax.random.key(5), (36, 36))

    def fingerprint(covariance, *_):
        return jnp.sum(probe * dense(covariance).real)

    monkeypatch.setattr(total_module, "projector_distance", fingerprint)
    trainer = Trainer(CONFIG)
    inputs = jax.vmap(lambda observation: make_inputs(observation, CONFIG.model))(batch.observation)
    prediction = trainer.program.network.apply(params, inputs.features)
    settings = make_settings(CONFIG)
    labels = make_labels(batch, inputs.sample)
    seen = total_loss(prediction, labels, settings.loss_weights, settings.covariance, CONFIG.precision)
    _, effective = make_pipeline(*SECTIONS).covariance(params, batch.observation, CONFIG.covariance)
    expected = jax.vmap(fingerprint)(effective)
    np.testing.assert_allclose(seen.terms["projector"], expected, rtol=1e-4, atol=1e-3)
    assert np.ptp(expected) > 1.0, "the probe tells scenes apart"


def test_validation_and_evaluation_localise_alike(trained):
    params, batch = trained
    pipeline = make_pipeline(*SECTIONS)
    _, expected = jax.jit(lambda p, o: pipeline.sources(p, o, CONFIG.covariance))(params, batch.observation)
    validated, _ = _make_measure(*SECTIONS)(params, batch, make_settings(CONFIG).covariance)
    method = make_method(CONFIG, CONFIG.physics, "learned_ml", params)
    evaluated = jax.jit(method)(Batch(batch.observation, None, None))
    for found in (validated, evaluated.estimates):
        np.testing.assert_array_equal(found.active, expected.active)
        chex.assert_trees_all_close(found.position, expected.position, atol=2e-2)
