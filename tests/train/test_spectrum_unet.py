"""The stage between the network and the heads: a refiner that learns, is stored and is used."""

import chex
import jax
import numpy as np
import pytest

from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.pipeline import REFINER, Pipeline
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train import load_best, train, train_posterior, train_refiner
from tests.tiny import tiny_config

CONFIG = tiny_config(
    model__refiner_width=4, train__refiner__steps=60, train__epochs=1, train__posterior__scenes=16, train__batch_size=8
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = RunDirectory(tmp_path_factory.mktemp("run"))
    train(CONFIG, directory, Terminal(quiet=True))
    train_refiner(CONFIG, directory, Terminal(quiet=True))
    train_posterior(CONFIG, directory, Terminal(quiet=True))
    return directory


def test_it_learns_and_is_loaded_with_the_network(run):
    (record,) = run.read_log("refiner")
    assert record["steps"] == 60
    assert record["last_loss"] < 0.8 * record["first_loss"]
    params = load_best(CONFIG, run)
    chex.assert_tree_all_finite(params[REFINER])


def test_peaks_and_candidates_come_from_its_map(run):
    params = load_best(CONFIG, run)
    blind = {group: leaves for group, leaves in params.items() if group != REFINER}
    pipeline = Pipeline(CONFIG.physics, CONFIG.precision, CONFIG.model, CONFIG.estimator)
    batch = scene_batch(CONFIG.physics, 0, Purpose.TEST_SCENES, 0, 8)

    @jax.jit
    def found(params):
        _, effective = pipeline.covariance(params, batch.observation, CONFIG.covariance)
        _, sources = pipeline.sources(params, batch.observation, CONFIG.covariance)
        return effective, pipeline.peaks(params, batch.observation, effective)[0], sources

    with_map, without = found(params), found(blind)
    chex.assert_trees_all_equal(with_map[0], without[0])
    chex.assert_tree_all_finite(with_map[2].position)
    assert np.asarray(with_map[1].alive).any(axis=1).all()
    assert np.abs(np.asarray(with_map[1].cosines) - np.asarray(without[1].cosines)).max() > 0


def test_none_without_channels(tmp_path):
    directory = RunDirectory(tmp_path)
    train_refiner(tiny_config(), directory, Terminal(quiet=True))
    assert not directory.refiner_path.exists()
