"""The geometry head in training and in evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.checks import wait_for_checks
from risjax.config import Config
from risjax.config.io import apply_overrides
from risjax.experiments.evaluate.methods import Batch, make_method
from risjax.metrics import quick
from risjax.model import build
from risjax.pipeline import make_pipeline
from risjax.train import Trainer
from risjax.types import Observation
from tests.tiny import tiny_config

HEAD = {"model__geometry_slots": 3, "loss__geometry__weight": 1.0}


def observations(config: Config) -> Observation:
    """Four scenes of noise."""
    rng, physics = np.random.default_rng(0), config.physics
    snapshots, antennas = physics.codebook.num_snapshots, physics.channel.num_antennas
    shapes = {"y": (snapshots, antennas), "H": (antennas, 36), "c": (snapshots, 36)}
    y, h, c = (rng.normal(size=(2, 4, *shape)) for shape in shapes.values())
    return Observation(*(jnp.asarray(parts[0] + 1j * parts[1], jnp.complex64) for parts in (y, h, c)))


def test_the_method_reports_what_the_head_says():
    config = tiny_config(**HEAD, estimator__posterior__existence=0.5)
    params = jax.jit(build(config.physics.array, config.model, config.precision).init)(jax.random.key(0))
    # The head is told what to say: everywhere the same.
    output = params["head"]["geometry"]["output"]
    output["kernel"] = jnp.zeros_like(output["kernel"])
    output["bias"] = jnp.asarray([1.0, 0.0, 0.0, 0.0], jnp.float32)
    method = make_method(config, config.physics, "learned_geometry", params)
    found = jax.jit(method)(Batch(observations(config), None, None))
    estimates = found.estimates
    assert estimates.active.all()
    assert estimates.active.shape == (4, 2), "three slots, but no more than there can be sources"
    np.testing.assert_allclose(estimates.existence, 1 / (1 + np.exp(-1.0)), rtol=1e-5)
    np.testing.assert_allclose(estimates.position[..., :2], 0.0, atol=1e-6)
    np.testing.assert_allclose(1 / estimates.position[..., 2], (1 / 0.5 + 1 / 10) / 2, rtol=1e-5)
    assert found.factor.shape == (4, 36, 3), "and the covariance's figures stand beside it"


def test_a_network_without_the_head_is_refused():
    config = tiny_config()
    with pytest.raises(ValueError, match=r"learned_geometry reports the geometry head, and the network has none"):
        make_method(config, config.physics, "learned_geometry", {})
    pipeline = make_pipeline(config.physics, config.precision, config.model, config.estimator)
    params = jax.eval_shape(build(config.physics.array, config.model, config.precision).init, jax.random.key(0))

    def report(params, observation):
        return pipeline.in_slots(pipeline.covariance(params, observation, config.covariance)[0])

    with pytest.raises(ValueError, match="this network has none"):
        jax.eval_shape(report, params, observations(config))


@pytest.mark.slow
@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_it_memorises_a_handful_of_scenes(compute):
    """Existence and directions of eight scenes, from half precision, without a skipped step but for the loss scale."""
    overrides = {
        "precision.compute": compute,
        "model.width": 32,
        "model.layers": 2,
        "train.batch_size": 8,
        "train.dataset_scenes": 8,
        "train.steps_per_epoch": 300,
        "train.epochs": 1,
        "train.learning_rate": 3e-3,
        "physics.scene.snr_db": [20.0, 20.0],
        "loss.covariance.weight": 0.0,
        "loss.projector.weight": 0.0,
    }
    config = apply_overrides(tiny_config(**HEAD), overrides)
    trainer = Trainer(config)
    state, batch = trainer.init(), trainer.draw(jnp.asarray(0))
    first = None
    for _ in range(300):
        state, info = trainer.step(state, batch)
        first = info if first is None else first
    wait_for_checks()
    assert int(state.skipped) <= (3 if compute == "float16" else 0)
    assert float(info.terms["geometry"]) < 0.1 * float(first.terms["geometry"])
    method = make_method(config, config.physics, "learned_geometry", state.ema)
    estimates = jax.device_get(jax.jit(method)(Batch(batch.observation, None, None)).estimates)
    measured = quick(estimates, jax.device_get(batch.truth.sources), config.evaluate.tolerance)
    assert measured["f1_angle"] > 0.9
