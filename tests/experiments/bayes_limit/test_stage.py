"""The stage: refuses what it cannot do, survives an interruption, and gives the same numbers."""

import re

import numpy as np
import pytest

from risjax.config.io import apply_overrides
from risjax.experiments.bayes_limit import LimitError, limit, stage
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from tests.tiny import tiny_config

SMALL = {
    "limit.scenes": 2,
    "limit.particles": 32,
    "limit.moves": 2,
    "limit.last_moves": 2,
    "evaluate.methods": ["greedy_ml"],
    "evaluate.sources": [{"name": "held_out", "scenes": 4}],
}


@pytest.fixture(scope="module")
def config():
    return apply_overrides(tiny_config(), SMALL)


def test_an_interrupted_run_resumes_to_the_same_numbers(config, tmp_path, monkeypatch, capsys):
    quiet = Terminal(quiet=True)
    whole = limit(config, RunDirectory(tmp_path / "whole"), quiet)
    directory = RunDirectory(tmp_path / "torn")
    limit(apply_overrides(config, {"limit.scenes": 1}), directory, quiet)
    sampled = []
    write = stage._write
    monkeypatch.setattr(
        stage, "_write", lambda path, mark, stored: (sampled.append(len(stored)), write(path, mark, stored))
    )
    again = limit(config, directory, Terminal())
    said = "".join(capsys.readouterr())
    assert re.search(r"judge  (\d+)/\1 ", said), said  # to the end, and no further
    assert sampled == [2]  # the first scene was kept
    assert again == whole
    assert set(whole["methods"]) == {"bayes_3d", "bayes_angle", "bayes_gospa"}
    assert whole["convergence"]["particles"] == 32
    assert all(len({tuple(row) for row in rows}) <= 1 for rows in whole["tables"].values())  # one header a table
    labels = [row[""] for row in whole["tables"]["In the posterior's expectation, without the luck of the true draw"]]
    assert labels[0] == "the limit, bounded from above"  # no estimates were stored here
    draws = [np.load(tmp_path / name / stage.SAMPLES_FILE)["position"] for name in ("whole", "torn")]
    np.testing.assert_array_equal(*draws)


def test_scenes_of_a_file_are_refused(config, tmp_path):
    of_a_file = apply_overrides(config, {"evaluate.sources": [{"name": "file", "path": "scenes.npz"}]})
    with pytest.raises(LimitError, match="comes from a file"):
        limit(of_a_file, RunDirectory(tmp_path), Terminal(quiet=True))


def test_a_law_that_is_not_supported_is_refused(config, tmp_path):
    other = apply_overrides(config, {"physics.scene.modulus": "unit"})
    with pytest.raises(LimitError, match="modulus"):
        limit(other, RunDirectory(tmp_path), Terminal(quiet=True))
