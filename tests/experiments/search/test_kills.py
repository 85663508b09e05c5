"""Workers that are killed, and workers that share a study: real processes, real SIGKILL."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from risjax.experiments.search.slots import DIED, END, WITHDRAWN
from risjax.experiments.search.study import open_study, search
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from tests.experiments.search.fake import FakeTrain, make_config

ROOT = Path(__file__).resolve().parents[3]
QUIET = Terminal(quiet=True)


@contextmanager
def worker(path: Path, epoch_s: float, **settings) -> Iterator[subprocess.Popen]:
    """A worker in a process of its own, ready to `go`; killed at the end at the latest."""
    arguments = [str(path), str(epoch_s), *(f"{key}={value}" for key, value in settings.items())]
    command = [sys.executable, "-m", "tests.experiments.search.fake", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def go(*workers: subprocess.Popen) -> None:
    """Starts workers that have imported everything, at once."""
    for process in workers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def records(path: Path) -> list[dict]:
    file = path / "search" / "trials.json"
    return json.loads(file.read_text()) if file.exists() else []


def num_finished(path: Path) -> int:
    return sum(row["state"] in ("complete", "pruned") for row in records(path))


def wait_until(condition, timeout_s: float = 180.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def outline(trials) -> list[tuple]:
    return [(r.number, r.state, r.value, r.params, r.reason, r.intermediate, r.is_best) for r in trials]


def attempts(path: Path, **settings) -> list:
    return open_study(make_config(**settings), RunDirectory(path)).get_trials(deepcopy=False)


@pytest.mark.parametrize("pruner", ["hyperband", pytest.param("median", marks=pytest.mark.slow)])
def test_a_killed_search_resumes_to_the_unbroken_one(tmp_path, pruner):
    settings = {"trials": 8, "epochs": 3, "pruner": pruner}
    whole = search(make_config(**settings), RunDirectory(tmp_path / "whole"), QUIET, train=FakeTrain())
    broken = tmp_path / "broken"
    with worker(broken, 0.15, **settings) as process:
        go(process)
        wait_until(lambda: num_finished(broken) >= 3)
        time.sleep(0.2)  # into the next trial
        process.send_signal(signal.SIGKILL)
    again = FakeTrain()
    outcome = search(make_config(**settings), RunDirectory(broken), QUIET, train=again)
    assert outline(outcome.trials) == outline(whole.trials)
    assert len(again.configs) <= 8 - 3, "no finished trial runs again"


def test_a_trial_that_keeps_dying_is_given_up(tmp_path):
    settings = {"trials": 2, "epochs": 3, "max_retries": 1}
    folders = ("0000", "0000.1")
    for folder in folders:
        with worker(tmp_path, 5.0, **settings) as process:
            go(process)
            wait_until((tmp_path / "search" / "trials" / folder / "checkpoints" / "epoch_00001" / "weights").exists)
            process.send_signal(signal.SIGKILL)
    search(make_config(**settings), RunDirectory(tmp_path), QUIET, train=FakeTrain())
    rows = records(tmp_path)
    assert [(row["state"], row["attempts"]) for row in rows] == [("failed", 2), ("complete", 1)]
    assert rows[0]["reason"] == "its worker died"
    dead = [trial for trial in attempts(tmp_path, **settings) if trial.user_attrs.get(END) == DIED]
    assert len(dead) == 2
    assert dead[0].params == dead[1].params


def test_two_workers_share_a_study_and_one_is_killed(tmp_path):
    settings = {"trials": 12, "epochs": 2, "pruner": "none"}
    with worker(tmp_path, 0.1, **settings) as first, worker(tmp_path, 0.1, **settings) as second:
        go(first, second)
        wait_until(lambda: num_finished(tmp_path) >= 5)
        second.send_signal(signal.SIGKILL)
        assert first.wait(60) == 0
    trials = attempts(tmp_path, **settings)
    rows = records(tmp_path)
    assert [row["state"] for row in rows] == ["complete"] * 12
    assert sum(trial.state.name == "COMPLETE" for trial in trials) == 12
    failed = [trial.user_attrs[END] for trial in trials if trial.state.name == "FAIL"]
    assert set(failed) <= {DIED, WITHDRAWN}
    assert failed.count(DIED) <= 1
    workers = {trial.user_attrs["owner"]["pid"] for trial in trials if trial.state.name == "COMPLETE"}
    assert workers == {first.pid, second.pid}


def test_a_second_worker_joins_and_waits_for_the_first(tmp_path):
    settings = {"trials": 3, "epochs": 2, "pruner": "none"}
    with worker(tmp_path, 0.5, **settings) as first:
        go(first)
        wait_until((tmp_path / "search" / "trials" / "0000").exists)
        outcome = search(make_config(**settings), RunDirectory(tmp_path), QUIET, train=FakeTrain())
        assert [record.state for record in outcome.trials] == ["complete"] * 3
        assert first.wait(60) == 0


def test_an_interrupted_trial_is_not_counted_as_a_death(tmp_path):
    def interrupted(config, directory, terminal, *, on_epoch):
        raise KeyboardInterrupt

    config = make_config(trials=2, max_retries=0)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            search(config, RunDirectory(tmp_path), QUIET, train=interrupted)
    outcome = search(config, RunDirectory(tmp_path), QUIET, train=FakeTrain())
    assert [record.state for record in outcome.trials] == ["complete"] * 2


@pytest.mark.slow
def test_ten_random_kills_change_nothing(tmp_path):
    settings = {"trials": 50, "epochs": 12, "max_retries": 10}
    whole = search(make_config(**settings), RunDirectory(tmp_path / "whole"), QUIET, train=FakeTrain())
    broken, draw = tmp_path / "broken", random.Random(7)
    for _ in range(10):
        with worker(broken, 0.02, **settings) as process:
            go(process)
            time.sleep(draw.uniform(0.3, 2.5))
            process.send_signal(signal.SIGKILL)
    outcome = search(make_config(**settings), RunDirectory(broken), QUIET, train=FakeTrain())
    assert outline(outcome.trials) == outline(whole.trials)
    finished = [
        trial for trial in attempts(broken, **settings) if trial.state.is_finished() and END not in trial.user_attrs
    ]
    assert len(finished) == 50
