"""The tables of a search and the page that is made of them, from files of finished and unfinished searches."""

import importlib.util
import json
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from risjax.experiments.evaluate import write_estimates
from risjax.experiments.search import finalists
from risjax.experiments.search.search_tables import all_trials, make_tables
from risjax.experiments.search.study import search
from risjax.metrics.bootstrap import Drawn
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.types import Estimates, Sources
from tests.experiments.search.fake import FakeTrain, make_config

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The directory of a finished search with finalists and seeds."""
    path = tmp_path_factory.mktemp("wide")
    with pytest.MonkeyPatch.context() as patch:
        measured = iter(range(10))
        patch.setattr(
            finalists,
            "_measure",
            lambda *_: Drawn(float(k := next(measured)), k + np.linspace(-0.1, 0.1, 20), 20),
        )
        config = make_config(trials=10, epochs=6, finalists=2, first_trial="configured", seeds=2)
        search(config, RunDirectory(path), Terminal(quiet=True), train=FakeTrain())
    return RunDirectory(path)


def tables_of(directory: RunDirectory) -> dict:
    return make_tables(directory.read_json("search/summary.json"), directory.read_json("search/trials.json"))


def test_tables_show_finalists_settings_costs_estimates_and_spreads(searched):
    tables = tables_of(searched)
    finals, settings, costs, estimates, spreads = tables.values()
    assert finals[0][""].startswith("winner")
    assert finals[0]["minus the winner"] == "-"
    assert finals[1]["minus the winner"] == "+1.000 [+1.000, +1.000]"
    assert any("configured" in row[""] for row in finals)
    assert {row["setting"] for row in settings} == set(make_config().search.space)
    assert settings[0]["configured"] == "0.001"
    trained = sum(int(row["epochs"]) for row in costs)
    assert trained == 10 * 6, "trained and saved epochs are all epochs"
    assert costs[-1]["trials"] == "saved by pruning"
    assert [row["after"] for row in estimates] == ["1 trials", "2 trials", "5 trials"]
    assert len(spreads) == 2
    assert searched.read_json("search/summary.json")["tables"] == tables, "the report shows the same"


def test_an_unfinished_search_shows_what_is_left(tmp_path):
    class Stopped(FakeTrain):
        def __call__(self, *args, **kwargs):
            if len(self.configs) == 4:
                raise KeyboardInterrupt
            super().__call__(*args, **kwargs)

    with pytest.raises(KeyboardInterrupt):
        search(make_config(), RunDirectory(tmp_path), Terminal(quiet=True), train=Stopped())
    rows = next(rows for title, rows in tables_of(RunDirectory(tmp_path)).items() if title.startswith("Trials"))
    assert rows[-1]["trials"] == "4 left"
    assert rows[-1]["time"].startswith("about")


def test_all_trials_are_listed(searched):
    rows = all_trials(searched.read_json("search/trials.json"), "gospa_m")
    assert [row["trial"] for row in rows] == [str(number) for number in range(10)]
    assert {"learning_rate", "projector.weight", "scene.snr_db"} < {
        name.removeprefix("loss.").removeprefix("physics.") for name in rows[0]
    }


@pytest.fixture
def script(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("search_page", BENCHMARKS / "search_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STORED", tmp_path / "stored")
    monkeypatch.setattr(sys.modules["pages"], "DOCS", tmp_path)
    (tmp_path / "search.md").write_text("Before\n<!-- begin search -->\nold\n<!-- end search -->\n")
    return module


def estimates_file(path: Path, error_m: float, truth: np.ndarray) -> RunDirectory:
    directory, active = RunDirectory(path), np.ones(truth.shape[:2], bool)
    plain = jnp.zeros(active.shape)
    sources = Sources(jnp.asarray(truth), jnp.ones(active.shape, jnp.complex64), jnp.asarray(active))
    shifted = truth + np.array([0.0, 0.0, error_m])
    std = jnp.ones(truth.shape)
    found = Estimates(jnp.asarray(shifted), sources.amplitude, sources.active, std, plain, plain)
    arrays = {f"held_out/truth/{name}": np.asarray(value) for name, value in sources._asdict().items()}
    arrays |= {f"held_out/learned_ml/{name}": np.asarray(value) for name, value in found._asdict().items()}
    write_estimates(directory, arrays)
    return directory


def test_the_page_is_made_of_the_files_of_a_run(searched, script, tmp_path, monkeypatch):
    truth = np.random.default_rng(0).uniform(1.0, 3.0, (30, 2, 3))
    estimates_file(searched.path, 0.1, truth)
    other = estimates_file(tmp_path / "default", 0.4, truth)
    searched.append_log({"kind": "stage", "stage": "search", "seconds": 90.0})
    name = searched.path.name
    monkeypatch.setattr(sys, "argv", ["search_page.py", str(searched.path), "--against", f"{name}={other.path}"])
    script.main()
    text = (tmp_path / "search.md").read_text()
    assert text.startswith("Before\n<!-- begin search -->\n### ")
    assert "old" not in text
    for expected in ("search 1 min 30 s", "**Finalists: gospa_m", "All trials", "minus that of default"):
        assert expected in text
    stored = json.loads((tmp_path / "stored" / f"{name}.json").read_text())
    gospa = stored["against"]["default"]["gospa_m"]["difference"]
    assert gospa["high"] < 0, "the smaller error is better in every scene"


def test_runs_on_different_scenes_are_not_compared(script, tmp_path):
    truth = np.ones((3, 1, 3))
    first, second = estimates_file(tmp_path / "a", 0.0, truth), estimates_file(tmp_path / "b", 0.0, 2 * truth)
    with pytest.raises(SystemExit, match="not evaluated on the same scenes"):
        script.compare_runs(first, second)
