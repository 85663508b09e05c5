"""``kill -9`` during the search, during the training and during the evaluation, against an unbroken run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import risjax
from risjax.runs.run_directory import RunDirectory

RUN = Path(risjax.__file__).parents[1] / "run.py"

CONFIG = """
stages: [search, train, evaluate]
physics:
  array: {num_horizontal: 6, num_vertical: 6}
  codebook: {num_snapshots: 8}
  scene: {max_sources: 2, num_sources: [1, 2]}
model: {width: 16, layers: 1, heads: 2, rank: 3}
train: {batch_size: 4, steps_per_epoch: 10, epochs: 8, validation_scenes: 4}
estimator: {grid: {num_azimuth: 7, num_elevation: 5, num_range: 3}, refine_iterations: 1}
search:
  trials: 3
  epochs: 2
  steps_per_epoch: 2
  metric: nmse
  pruner: none
  space: {train.learning_rate: {log_uniform: [1.0e-4, 1.0e-2]}, loss.projector.weight: {uniform: [0.1, 1.0]}}
evaluate:
  sources: [{name: held_out, scenes: 8}]
  methods: [learned_mvdr, mvdr]
  bootstrap_draws: 20
  batch_size: 4
"""


def command(folder: Path) -> list[str]:
    return [sys.executable, str(RUN), "--config", str(folder / "tiny.yaml"), f"run.directory={folder / 'run'}"]


def killed_when(folder: Path, condition: Callable[[RunDirectory], bool], *, timeout: float = 900.0) -> None:
    """Runs the command and kills it, hard, as soon as ``condition`` holds."""
    with subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + timeout
        while not ((folder / "run" / "config.yaml").exists() and condition(RunDirectory(folder / "run"))):
            assert process.poll() is None, f"ended before it could be killed: {process.communicate()[1].decode()}"
            assert time.monotonic() < deadline, "never came to the point where it was to be killed"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)


def finished(folder: Path) -> RunDirectory:
    subprocess.run(command(folder), check=True, timeout=1800, stdout=subprocess.DEVNULL)
    return RunDirectory(folder / "run")


def trials_done(directory: RunDirectory) -> int:
    return sum(trial["state"] == "complete" for trial in directory.read_json("search/trials.json", []))


def results(directory: RunDirectory) -> dict:
    trials = [
        {name: trial[name] for name in ("number", "state", "value", "params", "is_best")}
        for trial in directory.read_json("search/trials.json")
    ]
    epochs = [
        {name: record[name] for name in ("epoch", "loss", "validation")} for record in directory.read_log("epoch")
    ]
    steps = [(record["step"], record["loss"]) for record in directory.read_log("step")]
    methods = directory.read_json("metrics.json")["sources"]["held_out"]["methods"]
    return {"trials": trials, "epochs": epochs, "steps": steps, "overall": {m: methods[m]["overall"] for m in methods}}


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_a_run_killed_three_times_ends_with_the_numbers_of_an_unbroken_one(tmp_path):
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tiny.yaml").write_text(CONFIG)
    expected = results(finished(tmp_path / "whole"))

    broken = tmp_path / "broken"
    killed_when(broken, lambda directory: trials_done(directory) == 1)
    assert trials_done(RunDirectory(broken / "run")) < 3, "the search was killed"
    killed_when(broken, lambda directory: any(record["epoch"] >= 3 for record in directory.read_log("epoch")))
    assert not RunDirectory(broken / "run").is_done("train"), "the training was killed"
    killed_when(broken, lambda directory: directory.is_done("train"))
    assert not RunDirectory(broken / "run").is_done("evaluate"), "the evaluation was killed"
    assert results(finished(broken)) == expected
