"""The page of the settings that matter is made of a run's ablation.json and tune.json."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from risjax.runs.run_directory import RunDirectory

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def figures(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def of_metrics(value: float, half: float) -> dict[str, dict[str, dict[str, float]]]:
    learned = {name: figures(value, half) for name in ("f1_3d", "f1_angle", "gospa_m")}
    return {"network": {"nmse": figures(value, half)}, "learned_ml": learned}


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    base = {"name": "base", "settings": {}, "metrics": of_metrics(0.5, 0.1), "differences": {}}
    wide = {"name": "wide", "settings": {"model.width": 192}, "metrics": of_metrics(0.4, 0.1)}
    variants = [base, {**wide, "differences": of_metrics(-0.1, 0.02)}]
    directory.write_json("ablation.json", {"scenes": 2000, "seeds": 2, "variants": variants, "tables": {}})
    blend = {"setting": "covariance.blend", "value": 0.25, "differences": of_metrics(0.003, 0.01)["learned_ml"]}
    directory.write_json("tune.json", {"comparisons": [{"setting": None, "value": None, "differences": {}}, blend]})
    return directory


@pytest.fixture
def script(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("influence_page")
    monkeypatch.setattr(module, "STORED", tmp_path / "influence.json")
    for owner in (module, sys.modules["pages"]):
        monkeypatch.setattr(owner, "DOCS", tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "search.md").write_text("Before\n<!-- begin influence -->\nold\n<!-- end influence -->\n")
    return module


def test_the_page_lists_trainings_then_settings_after_the_network(script, run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["influence_page.py", f"default={run.path}"])
    script.main()
    lines = (tmp_path / "search.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert rows[0].startswith("| `model.width = 192` | yes | -0.100 [-0.120, -0.080] |")
    assert rows[1].startswith("| `covariance.blend = 0.25` | no | - | +0.003 [-0.007, +0.013] |")
    assert "tables" not in json.loads((tmp_path / "influence.json").read_text())["default"]["ablation"]
    assert (tmp_path / "images" / "influence.png").stat().st_size > 5000


def test_a_second_run_is_added_to_the_first(script, run, tmp_path, monkeypatch):
    for name in ("default", "original"):
        monkeypatch.setattr(sys, "argv", ["influence_page.py", f"{name}={run.path}"])
        script.main()
    text = (tmp_path / "search.md").read_text()
    assert text.index("Physics `default`") < text.index("Physics `original`")


def test_a_run_without_comparisons_is_refused(script, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["influence_page.py", f"empty={tmp_path / 'nothing'}"])
    with pytest.raises(SystemExit, match="contains no comparison of trainings"):
        script.main()
    assert not (tmp_path / "influence.json").exists()
