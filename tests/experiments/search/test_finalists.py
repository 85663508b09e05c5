"""The comparison of the best trials on further scenes, with real trainings of the smallest configuration."""

import json

import numpy as np
import pytest

from risjax.config import Config, Distribution
from risjax.config.errors import ConfigError
from risjax.config.io import apply_overrides
from risjax.experiments.search import finalists
from risjax.experiments.search.finalists import compare
from risjax.experiments.search.record import kept_comparison
from risjax.experiments.search.space import check_space
from risjax.experiments.search.study import open_study, search
from risjax.metrics.bootstrap import Drawn
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from tests.experiments.search.fake import FakeTrain, make_config
from tests.tiny import tiny_config

QUIET = Terminal(quiet=True)
RATES = {"train.learning_rate": Distribution(choice=(1.0e-4, 1.0e-3, 1.0e-2))}


def tiny(**changes) -> Config:
    settings = {"trials": 3, "epochs": 2, "pruner": "none", "finalists": 2, "final_scenes": 12, "space": RATES}
    config = apply_overrides(tiny_config(), {f"search.{name}": value for name, value in (settings | changes).items()})
    return config.model_copy(update={"stages": ("search", "train")})


@pytest.mark.slow
def test_the_best_finalist_wins_and_the_same_seed_gives_the_same_search(tmp_path):
    outcomes = [
        search(tiny(first_trial="configured"), RunDirectory(tmp_path / name), QUIET) for name in ("first", "second")
    ]
    rows, found = [], []
    for name in ("first", "second"):
        written = json.loads((tmp_path / name / "search" / "summary.json").read_text())
        found.append(written["finalists"])
        trials = json.loads((tmp_path / name / "search" / "trials.json").read_text())
        rows.append([(row["params"], row["value"], row["error"], row["intermediate"]) for row in trials])
    assert rows[0] == rows[1], "versions, seed and process are the same, so the trials are"
    assert found[0] == found[1]
    final = {entry["number"]: entry for entry in found[0]["trials"]}
    assert 0 in final, "the configured trial is always a finalist"
    winner = found[0]["winner"]
    assert final[winner]["value"] == min(entry["value"] for entry in final.values())
    assert outcomes[0].trials[winner].is_best
    assert outcomes[0].config.train.learning_rate == outcomes[0].trials[winner].params["train.learning_rate"]
    for number, entry in final.items():
        assert (tmp_path / "first" / "search" / "trials" / f"{number:04d}" / "checkpoints" / "epoch_00002").exists()
        assert entry["low"] <= entry["value"] <= entry["high"]
    assert outcomes[0].trials[0].params["train.learning_rate"] == tiny().train.learning_rate
    again = FakeTrain()
    assert search(tiny(first_trial="configured"), RunDirectory(tmp_path / "first"), QUIET, train=again).trials
    assert again.configs == []


def test_finalists_keep_their_checkpoints_and_the_best_of_them_wins(tmp_path, monkeypatch):
    measured = []

    def measure(config, where, bar):
        assert (where.checkpoints / "epoch_00001").exists()
        measured.append(int(where.path.name))
        value = float(len(measured))  # the first finalist, which has the best value of the trials, is the best again
        return Drawn(-value, -value + np.linspace(-0.5, 0.5, 50), 50)

    monkeypatch.setattr(finalists, "_measure", measure)
    config = make_config(pruner="none", finalists=3, first_trial="configured")
    outcome = search(config, RunDirectory(tmp_path), QUIET, train=FakeTrain())
    ranked = sorted((trial.value, trial.number) for trial in outcome.trials if trial.value is not None)
    assert len(ranked) == len(outcome.trials)
    expected = [number for _, number in ranked[:3]]
    assert measured == expected + [0] * (0 not in expected)
    assert [trial.number for trial in outcome.trials if trial.is_best] == [measured[-1]]
    kept = {int(path.parts[-3]) for path in (tmp_path / "search" / "trials").glob("*/checkpoints/epoch_00001")}
    assert kept == set(measured)
    search(config, RunDirectory(tmp_path), QUIET, train=FakeTrain())
    assert len(measured) == len(kept), "the comparison is kept"
    more = apply_overrides(config, {"search.final_scenes": config.search.final_scenes + 50})
    study = open_study(more, RunDirectory(tmp_path))
    assert kept_comparison(study, config, measured) is not None
    assert kept_comparison(study, more, measured) is None, "of another number of scenes"
    assert kept_comparison(study, config, measured[1:]) is None, "of other trials"


def test_finalists_of_other_machines_are_not_compared_and_a_warning_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(finalists, "_measure", None)
    url = f"sqlite:///{tmp_path}/study.db"
    settings = {"storage": url, "study": "shared", "pruner": "none", "finalists": 3}
    search(make_config(trials=4, **settings | {"finalists": 0}), RunDirectory(tmp_path / "a"), QUIET, train=FakeTrain())
    outcome = search(make_config(trials=5, **settings), RunDirectory(tmp_path / "b"), Terminal(), train=FakeTrain())
    assert "the finalists are not compared" in capsys.readouterr().out
    values = [trial.value for trial in outcome.trials if trial.value is not None]
    assert len(values) == len(outcome.trials)
    assert outcome.value == min(values)


def test_differences_are_paired():
    generator = np.random.default_rng(0)
    common = generator.normal(1.0, 0.5, 200)
    drawn = {3: Drawn(1.0, common, 50), 1: Drawn(1.1, common + 0.1, 50)}
    found = compare(make_config(final_scenes=50), drawn)
    assert found["winner"] == 3
    first, second = found["trials"]
    assert first["behind"] is None
    assert second["behind"] == pytest.approx({"value": 0.1, "low": 0.1, "high": 0.1})
    assert second["high"] - second["low"] > 1.0


def test_the_first_trial_has_the_configured_settings_and_is_not_pruned(tmp_path):
    config = make_config(trials=12, epochs=9, pruner="hyperband", first_trial="configured")
    first = search(config, RunDirectory(tmp_path), QUIET, train=FakeTrain()).trials[0]
    assert first.state == "complete"
    assert first.params == {
        "train.learning_rate": config.train.learning_rate,
        "loss.projector.weight": config.loss.projector.weight,
        "model.layers": config.model.layers,
        "model.width": config.model.width,
        "physics.scene.snr_db": config.physics.scene.snr_db,
    }


def test_a_space_without_the_configured_settings_is_refused():
    space = {"model.width": Distribution(choice=(64, 256)), "train.learning_rate": Distribution(uniform=(0.1, 0.2))}
    with pytest.raises(ConfigError, match=r"does not contain 128(.|\n)*does not contain 0\.001"):
        check_space(make_config(first_trial="configured", space=space))
