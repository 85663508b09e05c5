"""``quick.yaml`` and ``verify.yaml``, shrunk to seconds, from the command line to the files in the run directory."""

import json

import numpy as np
import pytest

from risjax import cli
from risjax.config.io import from_yaml
from risjax.runs.run_directory import RunDirectory

SHRUNK = [
    "model.width=16",
    "model.layers=1",
    "train.steps_per_epoch=4",
    "train.epochs=2",
    "train.batch_size=4",
    "train.validation_scenes=4",
    "train.posterior={scenes: 64, epochs: 4}",
    "search.trials=2",
    "search.epochs=1",
    "search.steps_per_epoch=2",
    "estimator.grid={num_azimuth: 9, num_elevation: 5, num_range: 4}",
    "estimator.refine_iterations=1",
    "evaluate.methods=[learned_mvdr, mvdr]",
    "evaluate.bootstrap_draws=20",
    "evaluate.batch_size=4",
    "evaluate.sources[0].scenes=4",
    "evaluate.sources[1].scenes=4",
]


def test_quick_from_search_to_report_and_checklist(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["--config", "quick.yaml", *SHRUNK, "stages=[search, train, evaluate, report, verify]"]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "runs/quick: search done, train done, evaluate done, report done, verify done" in out
    assert "\x1b" not in out
    assert "✗" not in out

    directory = RunDirectory("runs/quick")
    config = from_yaml(directory.config_path.read_text())
    trials = directory.read_json("search/trials.json")
    assert [trial["state"] for trial in trials] == ["complete", "complete"]
    best = next(trial for trial in trials if trial["is_best"])
    winner = from_yaml((directory.search / "best.yaml").read_text())
    assert winner.train.learning_rate == pytest.approx(best["params"]["train.learning_rate"])

    steps, epochs = list(directory.read_log("step")), list(directory.read_log("epoch"))
    assert [step["step"] for step in steps] == list(range(8))
    for name in ("loss", "grad_norm_backbone", "grad_norm_head", "update_norm", "loss_scale", "scenes_per_second"):
        assert all(np.isfinite(step[name]) for step in steps), name
    assert set(steps[0]["terms"]) == {"covariance", "projector"}
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    assert epochs[-1]["skipped_steps"] == 0
    assert epochs[-1]["schedule_count"] == epochs[-1]["applied_updates"] == 8

    sources = directory.read_json("metrics.json")["sources"]
    assert set(sources) == {source.name for source in config.evaluate.sources}
    for source in sources.values():
        for method in ("learned_mvdr", "mvdr"):
            f1 = source["methods"][method]["overall"]["f1_3d"]
            assert 0 <= f1["low"] <= f1["value"] <= f1["high"] <= 1
    with np.load(directory.estimates_path, allow_pickle=False) as estimates:
        assert estimates.files
    assert list(directory.figures.glob("*.png"))
    assert "<html" in directory.report_path.read_text().lower()
    assert any(directory.checkpoints.iterdir())
    assert not list(directory.path.rglob("*.pkl"))

    before = {path: path.stat().st_mtime_ns for path in directory.path.rglob("*") if path.is_file()}
    assert cli.main(command) == 0
    assert "train: already done" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in directory.path.rglob("*") if path.is_file()}
    changed = {path.name for path in before | after if before.get(path) != after.get(path)}
    assert changed <= {".lock"}, "the same command again repeats nothing"


@pytest.mark.slow
def test_released_verify_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["--config", "verify.yaml"]) == 0
    assert "✗" not in capsys.readouterr().out
    checks = json.loads((tmp_path / "runs/verify/verify.json").read_text())["checks"]
    assert all(check["passed"] for check in checks)
