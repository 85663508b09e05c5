"""The second stage of training: posterior heads beside the network, used by the pipeline and by nobody's order."""

import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.data.stream import scene_batch
from risjax.detection.candidate_features import CandidateFeatures, RangeLikelihood, num_features
from risjax.keys import Purpose
from risjax.pipeline import HEADS, PEAKS, POSTERIOR, Pipeline, make_posterior
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.spectral.grid import field_of_view
from risjax.train import Trainer, load_best, posterior, train, train_posterior
from risjax.train.peak_head import fit_peaks
from risjax.train.posterior import fit_posterior
from tests.tiny import tiny_config

NAMES = ("existence_nats", "range_nats", "uniform_range_nats", "ece", "candidates", "peaks")
REPORT = {name: float(value) for value, name in enumerate(NAMES)}
CONFIG = tiny_config(train__posterior__scenes=64, train__posterior__epochs=4, train__epochs=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = RunDirectory(tmp_path_factory.mktemp("run"))
    train(CONFIG, directory, Terminal(quiet=True))
    train_posterior(CONFIG, directory, Terminal(quiet=True))
    return directory


def test_the_heads_are_stored_and_loaded_with_the_network(run):
    params = load_best(CONFIG, run)
    assert set(params) == {"encoder", "head", POSTERIOR, PEAKS}
    chex.assert_tree_all_finite(params)
    for kind, noun in (("posterior", "candidates"), ("peaks", "peaks")):
        record = next(iter(run.read_log(kind)))
        assert 0 <= record["ece"] <= 1
        assert record[noun] > 0


def test_sources_come_with_probabilities_of_existence(run):
    params = load_best(CONFIG, run)
    pipeline = Pipeline(CONFIG.physics, CONFIG.precision, CONFIG.model, CONFIG.estimator)
    batch = scene_batch(CONFIG.physics, 0, Purpose.TEST_SCENES, 0, 4)

    @jax.jit
    def both(params, observation):
        _, effective = pipeline.covariance(params, observation, CONFIG.covariance)
        _, fitted = pipeline.sources(params, observation, CONFIG.covariance)
        return fitted, pipeline.spectral(params, observation, effective)

    for found in both(params, batch.observation):
        existence, active = np.asarray(found.existence), np.asarray(found.active)
        assert ((existence >= 0) & (existence <= 1)).all()
        assert (existence[~active] == 0).all()
    network_only = {group: leaves for group, leaves in params.items() if group not in HEADS}
    for without in both(network_only, batch.observation):
        assert np.isnan(np.asarray(without.existence)).all()


def test_the_head_of_candidates_is_deterministic_and_learns():
    params = Trainer(CONFIG).init().params
    first, report = fit_posterior(CONFIG, params, Terminal(quiet=True))
    second, _ = fit_posterior(CONFIG, params, Terminal(quiet=True))
    chex.assert_trees_all_equal(first, second)
    longer = tiny_config(train__posterior__scenes=64, train__posterior__epochs=40)
    trained, better = fit_posterior(longer, params, Terminal(quiet=True))
    assert better["existence_nats"] < report["existence_nats"]
    np.testing.assert_array_equal(first["mean"], trained["mean"], "the standardisation is not trained")
    assert float(jnp.abs(first["first"]["kernel"] - trained["first"]["kernel"]).max()) > 0


@pytest.mark.slow
def test_the_head_of_peaks_is_deterministic_and_learns():
    params = Trainer(CONFIG).init().params
    first, report = fit_peaks(CONFIG, params, Terminal(quiet=True))
    second, _ = fit_peaks(CONFIG, params, Terminal(quiet=True))
    chex.assert_trees_all_equal(first, second)
    longer = tiny_config(train__posterior__scenes=64, train__posterior__epochs=40)
    assert fit_peaks(longer, params, Terminal(quiet=True))[1]["existence_nats"] < report["existence_nats"]


def test_the_head_of_peaks_learns_from_no_more_scenes_than_are_asked_for():
    params = Trainer(CONFIG).init().params
    capped = CONFIG.train.posterior.model_copy(update={"peak_scenes": 8})
    fewer = CONFIG.train.posterior.model_copy(update={"scenes": 8})
    heads = [
        fit_peaks(
            CONFIG.model_copy(update={"train": CONFIG.train.model_copy(update={"posterior": settings})}),
            params,
            Terminal(quiet=True),
        )
        for settings in (capped, fewer)
    ]
    chex.assert_trees_all_equal(*heads)


def test_an_interrupted_stage_resumes_with_the_unfinished_head(run, monkeypatch, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    directory = RunDirectory(tmp_path / "copy")
    expected = load_best(CONFIG, directory)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(posterior, "fit_peaks", interrupt)
    monkeypatch.setattr(posterior, "fit_posterior", lambda *_: (expected[POSTERIOR], REPORT))
    with pytest.raises(KeyboardInterrupt):
        train_posterior(CONFIG, directory, Terminal(quiet=True))
    assert POSTERIOR not in load_best(CONFIG, directory), "half of the heads is none"
    monkeypatch.setattr(posterior, "fit_posterior", interrupt)
    monkeypatch.setattr(posterior, "fit_peaks", lambda *_: (expected[PEAKS], REPORT))
    train_posterior(CONFIG, directory, Terminal(quiet=True))
    chex.assert_trees_all_equal(load_best(CONFIG, directory), expected)
    assert not list(directory.path.glob("*.part.*"))


def test_the_first_head_of_another_network_is_not_taken(run, monkeypatch, tmp_path):
    directory = RunDirectory(tmp_path)
    monkeypatch.setattr(posterior, "fit_posterior", lambda *_: ({"a": jnp.ones(1)}, REPORT))
    first, second = {"w": jnp.ones(2)}, {"w": jnp.zeros(2)}
    posterior._first_head(CONFIG, directory, first, Terminal(quiet=True))
    monkeypatch.setattr(posterior, "fit_posterior", lambda *_: ({"a": jnp.zeros(1)}, REPORT))
    for network, expected in ((first, 1.0), (second, 0.0), (first, 0.0)):
        head, report = posterior._first_head(CONFIG, directory, network, Terminal(quiet=True))
        assert float(head["a"][0]) == expected
        assert report == REPORT


def test_no_scenes_no_head(tmp_path):
    directory = RunDirectory(tmp_path)
    train_posterior(tiny_config(), directory, Terminal(quiet=True))
    assert not directory.posterior_path.exists()
    assert not list(directory.read_log("posterior"))


def test_held_out_scenes_are_evaluated_in_little_memory():
    """A range is decided by 66 x 65 numbers a candidate: of 4,096 scenes' 8,192 weakest candidates these are 141 MB."""
    scenes, slots = 4096, CONFIG.physics.scene.max_sources
    head = make_posterior(CONFIG.physics, CONFIG.model)
    num_values = num_features(slots)
    params = jax.eval_shape(head.init, jax.random.key(0), jnp.zeros(num_values), jnp.ones(num_values))
    every = jnp.zeros((scenes, slots, slots))
    features = CandidateFeatures(
        jnp.zeros((scenes, slots, slots, num_values)),
        every > 0,
        RangeLikelihood(every, every, every),
        jnp.zeros((scenes, slots, slots, 3)),
    )
    test = posterior.Examples(features, jnp.zeros((scenes, slots), int), every > 0, every)
    field, settings = field_of_view(CONFIG.physics), CONFIG.estimator.posterior
    losses = jax.jit(lambda params, test: posterior._losses(head, params, test, field, settings, None))
    used = losses.lower(params, test).compile().memory_analysis()
    assert used is not None
    assert used.temp_size_in_bytes < 64e6
