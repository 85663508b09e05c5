"""The stage for real on a tiny surface: through the command's own path, interrupted, and again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from risjax.config import Config
from risjax.config.io import apply_overrides
from risjax.config.weights import find_weights
from risjax.experiments.ablate import stage
from risjax.experiments.ablate.stage import ablate
from risjax.experiments.ablate.variants import training_path
from risjax.inference.release import load_params
from risjax.inference.release.load import trained_config
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.stages import run_stages
from tests.tiny import tiny_config

pytestmark = pytest.mark.slow
QUIET = Terminal(quiet=True)
BASE: dict[str, Any] = {"name": "base"}
SLOW: dict[str, Any] = {"name": "slow", "settings": {"train.learning_rate": 1.0e-4}}
GIVEN: dict[str, Any] = {"name": "no_blend", "of": "base", "settings": {"covariance.blend": 0.0}}


def config(*variants: dict[str, Any], seeds: int, **changes: Any) -> Config:
    values = {
        "stages": ["ablate"],
        "train.steps_per_epoch": 3,
        "evaluate.sources": [{"name": "held_out", "scenes": 12}],
        "ablate.variants": list(variants),
        "ablate.methods": ["learned_mvdr"],
        "ablate.seeds": seeds,
    }
    return apply_overrides(tiny_config(), values | changes)


def _fields(directory: RunDirectory, variant: str, field: str, seed: int = 0) -> np.ndarray:
    with np.load(training_path(directory, variant, seed) / "estimates.npz") as arrays:
        return arrays[f"scenes/learned_mvdr/{field}"]


def test_a_network_is_trained_once_and_measured_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = RunDirectory(tmp_path / "run")
    configuration = config(BASE, GIVEN, seeds=1, **{"run.directory": str(directory.path), "train.epochs": 1})
    assert run_stages(configuration, QUIET) == 0
    result = directory.read_json(stage.FILE)
    assert [entry["training"].get("steps") for entry in result["variants"]] == [[3], None]
    np.testing.assert_array_equal(_fields(directory, "no_blend", "nmse"), _fields(directory, "base", "nmse"))
    changed, reference = (_fields(directory, name, "score") for name in ("no_blend", "base"))
    assert not np.array_equal(changed, reference), "R_eff is another"
    assert not list(training_path(directory, "no_blend", 0).rglob("epoch_*"))
    for name in ("train", "_run_method"):
        place = "risjax.experiments.evaluate.measure." if name.startswith("_") else "risjax.experiments.ablate.stage."
        monkeypatch.setattr(place + name, lambda *_: pytest.fail("did again what was done"))
    assert run_stages(configuration, QUIET) == 0
    assert directory.read_json(stage.FILE) == result
    path = str(training_path(directory, "base", 0))
    found = find_weights(path)
    assert found is not None
    params = load_params(apply_overrides(trained_config(found), {"stages": ["evaluate"], "weights": path}), None)
    assert "encoder" in params, "any of them serves as weights="


def test_an_interrupted_run_resumes_to_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = config(BASE, SLOW, GIVEN, seeds=2)
    whole = ablate(configuration, RunDirectory(tmp_path / "whole"), QUIET)
    networks = {
        _fields(RunDirectory(tmp_path / "whole"), name, "nmse", k).tobytes()
        for name in ("base", "slow")
        for k in (0, 1)
    }
    assert len(networks) == 4, "two variants, two seeds"
    real, torn = stage.train, RunDirectory(tmp_path / "torn")

    def interrupted(trained: Config, where: RunDirectory, terminal: Terminal) -> Any:
        def stop(record: dict[str, Any]) -> None:
            raise KeyboardInterrupt

        return real(trained, where, terminal, on_epoch=stop if where.path.name == "seed_1" else None)

    monkeypatch.setattr(stage, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ablate(configuration, torn, QUIET)
    monkeypatch.undo()
    log = (training_path(torn, "base", 1) / "log.jsonl").read_text().splitlines()
    assert [record["epoch"] for record in map(json.loads, log) if record["kind"] == "epoch"] == [1]
    again = ablate(configuration, torn, QUIET)
    for part in ("metrics", "differences"):
        assert [entry[part] for entry in again["variants"]] == [entry[part] for entry in whole["variants"]]
