"""The estimate of the time that a search still needs, and the state that an unfinished one leaves."""

import json

import pytest

from risjax.experiments.search.record import TrialRecord
from risjax.experiments.search.study import search
from risjax.experiments.search.time_left import estimate_errors, progress_fields, seconds_left
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from tests.experiments.search.fake import FakeTrain, make_config


def record(number: int, seconds: float, state: str = "complete", **fields) -> TrialRecord:
    values = {"value": 2.0, "error": 0.1, "params": {}, "reason": None, "intermediate": {}, "attempts": 1}
    return TrialRecord(number=number, state=state, seconds=seconds, **(values | fields))


def test_trials_left_take_as_long_as_the_last_ten():
    assert seconds_left([], 50) is None
    slow, fast = [record(0, 1000.0)], [record(number, 10.0) for number in range(1, 11)]
    running = record(11, 5.0, "running")
    assert seconds_left([*slow, *fast, running], 21) == pytest.approx(10 * 10.0)
    assert seconds_left(slow, 21) == pytest.approx(20 * 1000.0)


def test_errors_of_the_estimates_are_known_at_the_end():
    records = [record(number, 20.0 if number < 10 else 10.0) for number in range(20)]
    assert estimate_errors(records[:19], 20) == []
    errors = {entry["after_trials"]: entry for entry in estimate_errors(records, 20)}
    assert set(errors) == {2, 5, 10}
    assert all(entry["actual_s"] == 300.0 for entry in errors.values())
    assert errors[5]["estimated_s"] == pytest.approx(400.0)


def test_the_bar_shows_best_pruned_and_time_left():
    records = [record(0, 60.0, value=1.5, is_best=True), record(1, 60.0, "pruned", value=None)]
    assert progress_fields(records, 4) == {"pruned": 1, "best": "1.5 ± 0.2 (trial 1)", "trials need": "2 min"}


def test_an_interrupted_search_has_a_summary(tmp_path):
    class Interrupted(FakeTrain):
        def __call__(self, *args, **kwargs):
            if len(self.configs) == 3:
                raise KeyboardInterrupt
            super().__call__(*args, **kwargs)

    with pytest.raises(KeyboardInterrupt):
        search(make_config(), RunDirectory(tmp_path), Terminal(quiet=True), train=Interrupted())
    summary = json.loads((tmp_path / "search" / "summary.json").read_text())
    assert summary["trials"] == 8
    assert summary["best"] is not None
    assert summary["seconds_left"] > 0
    assert summary["estimates"] == []
    assert sum(summary["states"].values()) == 4
    assert summary["states"]["failed"] == 1
