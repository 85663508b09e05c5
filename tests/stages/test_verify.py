"""The checklist: a healthy run passes every line, and each fault trips its own line and no other."""

import copy
import io
import math

import pytest

from risjax.config import Config
from risjax.config.io import apply_overrides
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.stages.verify import run_checks, verify

CONFIG = apply_overrides(Config(stages=("search", "train", "verify")), {"train.epochs": 1, "train.steps_per_epoch": 3})

STEP = {"kind": "step", "loss": 1.0, "grad_norm_backbone": 0.5, "grad_norm_head": 0.2, "finite": True}
EPOCH = {
    "kind": "epoch",
    "epoch": 1,
    "best_epoch": 1,
    "validation": {"nmse": 0.9, "gospa_m": 2.0},
    "skipped_steps": 0,
    "applied_updates": 3,
    "schedule_count": 3,
}
DTYPES = {
    "kind": "dtypes",
    "before": {"prediction.factor.real": "bfloat16", "labels.covariance": "complex64"},
    "after": {"prediction.factor": "complex64", "labels.covariance": "complex64"},
}
TRIAL = {"number": 0, "state": "complete", "value": 2.5, "is_best": True, "intermediate": {"1": 2.5}, "params": {}}


@pytest.fixture
def run():
    """The records of a healthy run: three steps, an epoch, the dtypes, one trial."""
    steps = [{**STEP, "step": number} for number in range(3)]
    return copy.deepcopy({"steps": steps, "epochs": [EPOCH], "dtypes": [DTYPES], "trials": [TRIAL]})


def written(run, path):
    directory = RunDirectory(path)
    for record in (*run["steps"], *run["epochs"], *run["dtypes"]):
        directory.append_log(record)
    directory.write_json("search/trials.json", run["trials"])
    return directory


def test_a_healthy_run_passes_every_line(run, tmp_path):
    stream = io.StringIO()
    directory = written(run, tmp_path)
    assert verify(CONFIG, directory, Terminal(quiet=True, stream=stream))
    text = stream.getvalue()
    assert "✗" not in text
    for line in (
        "✓ loss finite: 1",
        "✓ gradient norm of the backbone finite: 0.5 ... 0.5",
        "✓ gradient norm of the head finite: 0.2 ... 0.2",
        "✓ every step ok: 3 of 3",
        "✓ no non-finite step: 0 skipped",
        "✓ schedule's count equals applied updates: 3 and 3",
        "✓ best validation nmse finite: 0.9",
        "✓ best validation gospa_m finite: 2",
        "✓ best search gospa_m finite and really evaluated: 2.5, trial 0 of 1, 1 epochs reported",
        "✓ predictions and labels in full precision after the upcast: 2 of 2 leaves",
    ):
        assert line in text
    assert "prediction.factor.real  bfloat16   complex64" in text, "the pair's part goes into the complex leaf"
    assert all(check["passed"] for check in directory.read_json("verify.json")["checks"])


def _set(kind, index, key, value):
    def change(run):
        run[kind][index][key] = value

    return change


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (_set("steps", 1, "loss", math.nan), "loss finite"),
        (_set("steps", 1, "grad_norm_backbone", math.inf), "gradient norm of the backbone finite"),
        (_set("steps", 2, "grad_norm_head", math.nan), "gradient norm of the head finite"),
        (_set("steps", 2, "finite", False), "every step ok"),
        (lambda run: run["steps"].pop(), "every step ok"),
        (_set("epochs", 0, "skipped_steps", 1), "no non-finite step"),
        (_set("epochs", 0, "schedule_count", 4), "schedule's count equals applied updates"),
        (_set("epochs", 0, "validation", {"nmse": math.nan, "gospa_m": 2.0}), "best validation nmse finite"),
        (_set("epochs", 0, "validation", {"nmse": 0.9}), "best validation gospa_m finite"),
        (_set("trials", 0, "value", 1e9), "best search gospa_m finite and really evaluated"),
        (_set("trials", 0, "intermediate", {}), "best search gospa_m finite and really evaluated"),
        (_set("trials", 0, "is_best", False), "best search gospa_m finite and really evaluated"),
        (
            _set("dtypes", 0, "after", {"prediction.factor": "complex64", "labels.covariance": "float16"}),
            "predictions and labels in full precision after the upcast",
        ),
        (lambda run: run["dtypes"].pop(), "predictions and labels in full precision after the upcast"),
    ],
)
def test_each_fault_fails_its_own_check(run, tmp_path, fault, name):
    fault(run)
    assert [check.name for check in run_checks(CONFIG, written(run, tmp_path)) if not check.passed] == [name]


def test_a_run_without_results_fails_every_check(tmp_path):
    stream = io.StringIO()
    assert not verify(CONFIG, RunDirectory(tmp_path), Terminal(quiet=True, stream=stream))
    assert "✓" not in stream.getvalue()
