"""The table of stages, what is left to do, how long it will take, and the closing words."""

import io
from typing import Any

import pytest

from risjax.config import Config
from risjax.config.io import apply_overrides
from risjax.registry import find
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.stages import StageError
from risjax.stages.duration import announce_duration, remaining_scenes, remaining_steps, report_estimate
from risjax.stages.run_summary import summarise_run
from risjax.stages.table import STAGES, Stage


@pytest.fixture
def directory(tmp_path):
    return RunDirectory(tmp_path / "mine")


def searching(**changes: Any) -> Config:
    values = {"search.trials": 50, "search.epochs": 12, "train.steps_per_epoch": 250, "train.epochs": 100}
    return apply_overrides(Config(stages=("search", "train")), values | changes)


def test_remaining_steps_count_down(directory):
    config = searching()
    assert remaining_steps(config, directory) == {"search": 150_000, "train": 25_000}
    trials = [{"state": state} for state in ("complete", "pruned", "failed", "running")]
    directory.write_json("search/trials.json", trials)
    directory.append_log({"kind": "epoch", "epoch": 40})
    assert remaining_steps(config, directory) == {"search": 144_000, "train": 15_000}
    directory.mark_done("search")
    directory.mark_done("train")
    assert remaining_steps(config, directory) == {}
    assert remaining_steps(searching(**{"search.steps_per_epoch": 1}), RunDirectory(directory.path / "new")) == {
        "search": 600,
        "train": 25_000,
    }


def test_a_long_run_prints_its_estimated_duration(directory, monkeypatch):
    import risjax.train

    monkeypatch.setattr(risjax.train, "estimate_step_seconds", lambda config: 0.2)
    monkeypatch.setattr(risjax.train, "estimate_scene_seconds", lambda config: 0.01)
    stream = io.StringIO()
    seconds = announce_duration(searching(), directory, Terminal(stream=stream))
    text = stream.getvalue()
    assert "search: up to 150000 steps, 153600 scenes through the pipeline, about 8 h 45 min" in text
    assert "train: up to 25000 steps, 46080 scenes through the pipeline, about 1 h 31 min" in text
    assert "about 10 h 16 min at 200 ms a step of 64 scenes and 10.0 ms a scene of the pipeline here" in text
    assert seconds == pytest.approx({"search": 150_000 * 0.2 + 1536, "train": 25_000 * 0.2 + 460.8})


def test_the_error_of_the_estimate_is_reported(directory):
    stream = io.StringIO()
    estimated = {"search": 3600.0, "tune": 60.0}
    report_estimate(estimated, {"search": 2400.0, "report": 3.0}, directory, Terminal(stream=stream))
    assert "search: estimated 1 h, took 40 min (+50 %)" in stream.getvalue()
    assert "tune" not in stream.getvalue(), "it was not run in this session"
    assert [record["stages"] for record in directory.read_log("estimate")] == [
        {"search": {"estimated_s": 3600.0, "actual_s": 2400.0}}
    ]


def test_scenes_of_comparisons_and_finalists_count(directory):
    changes = {"stages": ["search", "train", "tune"], "search.finalists": 4, "search.final_scenes": 2000}
    config = searching(**changes, **{"tune.settings": {"covariance.blend": [0.0, 0.2]}, "search.trials": 1})
    found = remaining_scenes(config, directory)
    assert found["search"] == 12 * 256 + 5 * 2000
    assert found["tune"] == 3 * (2000 + 2560) + 20480


def test_a_short_run_measures_nothing(directory):
    stream = io.StringIO()
    short = searching(**{"search.trials": 1, "search.epochs": 1, "train.epochs": 1})
    announce_duration(short, directory, Terminal(stream=stream))
    assert stream.getvalue() == ""


def test_the_summary_lists_results_and_existing_files(directory):
    directory.write_json(
        "search/trials.json",
        [{"number": 0, "value": 0.51234, "params": {"train.learning_rate": 0.00123456}, "is_best": True}],
    )
    validation = {"nmse": 0.47, "f1_3d": 0.5, "f1_angle": 0.7, "gospa_m": 1.2}
    for epoch, loss in ((1, 1.1), (2, 0.6)):
        record = {"loss": loss, "best_epoch": epoch, "skipped_steps": 0, "validation": validation}
        directory.append_log({"kind": "epoch", "epoch": epoch, **record})
    overall = {"f1_3d": {"value": 0.5, "low": 0.4, "high": 0.6, "count": 9}, "nmse": {"value": None}}
    directory.write_json("metrics.json", {"sources": {"held_out": {"methods": {"learned_mvdr": {"overall": overall}}}}})
    directory.mark_done("search")
    text = "\n".join(summarise_run(searching(), directory))
    assert "search done, train NOT done" in text
    assert "best of 1 trials gospa_m 0.5123 with train.learning_rate 0.001235" in text
    assert "loss 1.1 -> 0.6 in 2 epochs, 0 steps skipped; best epoch 2: nmse 0.47" in text
    assert "learned_mvdr  nmse -  f1_3d 0.500 [0.400, 0.600]" in text
    assert f"{directory.path}/metrics.json" in text
    assert "report.html" not in text, "only what is there is named"


def test_an_empty_directory_has_a_summary(directory):
    assert "search NOT done, train NOT done" in "\n".join(summarise_run(searching(), directory))


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_functions_and_exceptions_of_the_table_exist(stage: Stage):
    for package in stage.extras:
        if package == "torch":
            pytest.importorskip(package)
    assert all(callable(find(place)) for place in stage.work)
    assert all(issubclass(find(place), Exception) for place in stage.refusals)
    assert set(stage.takes) <= {"config", "directory", "terminal"}


def fine(directory: RunDirectory) -> dict:
    directory.append_log({"kind": "work", "what": "fine"})
    return {"found": 0}


def refused(directory: RunDirectory) -> bool:
    directory.append_log({"kind": "work", "what": "refused"})
    return False


def unreadable(directory: RunDirectory) -> None:
    raise FileNotFoundError("no such file")


def without_torch(directory: RunDirectory) -> None:
    raise ModuleNotFoundError("No module named 'torch'", name="torch")


def call(directory: RunDirectory, *work: str, **rest: Any) -> bool:
    stage = Stage("predict", tuple(f"{__name__}:{name}" for name in work), takes=("directory",), **rest)
    return stage(searching(), directory, Terminal(quiet=True))


@pytest.mark.parametrize(("work", "passed"), [(("fine", "fine"), True), (("refused", "fine"), False)])
def test_a_stage_runs_all_functions_and_fails_if_one_returns_false(directory, work, passed):
    assert call(directory, *work) is passed
    assert tuple(record["what"] for record in directory.read_log("work")) == work


def test_refusals_become_stage_errors_and_other_exceptions_propagate(directory):
    with pytest.raises(StageError, match=r"^predict: no such file$"):
        call(directory, "unreadable", refusals=("builtins:KeyError", "builtins:FileNotFoundError"))
    with pytest.raises(FileNotFoundError):
        call(directory, "unreadable", refusals=("builtins:KeyError",))
    with pytest.raises(StageError, match=r"^predict: install it$"):
        call(directory, "without_torch", extras={"torch": "install it"})
    with pytest.raises(StageError, match=r"^predict: No module named 'torch'$"):
        call(directory, "without_torch", extras={"torch": ""})
    with pytest.raises(ModuleNotFoundError):
        call(directory, "without_torch", extras={"tensorboardX": ""})
