"""Reports of unfinished or damaged runs contain notes on the missing data."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from risjax.config import ToleranceConfig
from risjax.metrics.matching import match, pairwise_errors
from risjax.report import read_run, write_report
from risjax.report.baselines import compare_with_baselines
from risjax.report.examples import matched_errors
from risjax.report.metrics_view import Interval, SourceMetrics
from risjax.report.reading import Run
from risjax.report.sections import make_sections
from risjax.runs.environment import installed_environment
from risjax.runs.run_directory import RunDirectory
from tests.report.synthetic import draw_estimates, draw_truth


def copy_without(directory: RunDirectory, target: Path, *names: str) -> RunDirectory:
    """Copy a run without its figures and the named files."""
    shutil.copytree(directory.path, target, ignore=shutil.ignore_patterns("figures", "report.html", *names))
    return RunDirectory(target)


@pytest.mark.parametrize(
    ("removed", "expected"),
    [
        (("trials.json", "summary.json"), "No search was run"),
        (("metrics.json", "estimates.npz"), "no methods are compared"),
        (("estimates.npz",), "No example scenes"),
        (("log.jsonl",), "No training was logged"),
        (("config.yaml",), "config.yaml is missing"),
        (("*.json*", "*.npz", "*.yaml"), "Nothing was evaluated"),
    ],
)
def test_missing_files_are_reported(
    run_directory: RunDirectory, tmp_path: Path, unpainted: None, removed: tuple[str, ...], expected: str
) -> None:
    directory = copy_without(run_directory, tmp_path / "run", *removed)
    assert expected in write_report(directory).read_text(encoding="utf-8")


def test_damaged_files_become_notes(run_directory: RunDirectory, tmp_path: Path, unpainted: None) -> None:
    directory = copy_without(run_directory, tmp_path / "run")
    for path in (directory.metrics_path, directory.search / "trials.json"):
        path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")
    directory.estimates_path.write_bytes(directory.estimates_path.read_bytes()[:1000])
    directory.config_path.write_text("stages: [train\n", encoding="utf-8")
    with directory.log_path.open("a", encoding="utf-8") as file:
        file.write('{"kind": "step", "st')
    run = read_run(directory)
    notes = " ".join(run.notes)
    for name in ("metrics.json", "trials.json", "estimates.npz", "config.yaml", "log.jsonl"):
        assert name in notes
    assert run.steps is not None
    assert run.steps.columns["loss"].size == 240
    assert "damaged" in write_report(directory).read_text(encoding="utf-8")


def test_old_names_of_methods_in_results_are_replaced(run_directory: RunDirectory, tmp_path: Path) -> None:
    directory = copy_without(run_directory, tmp_path / "run")
    text = directory.metrics_path.read_text(encoding="utf-8")
    directory.metrics_path.write_text(text.replace("greedy_ml", "greedy_ml_told_k"), encoding="utf-8")
    with np.load(directory.estimates_path) as file:
        arrays = {name.replace("/greedy_ml/", "/greedy_ml_told_k/"): file[name] for name in file.files}
    np.savez(directory.estimates_path, **arrays)
    run, original = read_run(directory), read_run(run_directory)
    for old, new in zip(original.sources, run.sources, strict=True):
        assert list(new.methods) == [name.replace("greedy_ml", "greedy_ml_known_k") for name in old.methods]
        assert new.timing["greedy_ml_known_k"] == old.timing["greedy_ml"]
        assert ("learned_ml", "greedy_ml_known_k") in new.pairs
    assert set(run.estimates) == {name.replace("greedy_ml", "greedy_ml_known_k") for name in original.estimates}


def test_last_record_of_a_repeated_step_is_used(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    for loss in (3.0, 1.0):
        for step in range(2):
            directory.append_log({"kind": "step", "step": step, "epoch": 1, "loss": loss, "finite": True})
        directory.append_log({"kind": "epoch", "epoch": 1, "loss": loss, "best_epoch": 1})
    run = read_run(directory)
    assert run.steps is not None
    assert run.steps.columns["loss"].tolist() == [1.0, 1.0]
    assert [record["loss"] for record in run.epochs] == [1.0]


def test_trained_settings_are_those_of_the_best_trial(run_directory: RunDirectory) -> None:
    run = read_run(run_directory)
    best = json.loads((run_directory.search / "trials.json").read_text())[3]["params"]
    assert run.winner == best
    assert run.setting("loss.projector.weight") == 0.5
    assert run.trained_setting("loss")["projector"]["weight"] == best["loss.projector.weight"]
    assert run.trained_setting("train.learning_rate") == best["train.learning_rate"]


def test_checks_are_shown_only_if_they_were_run(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    assert "checks" not in {section.anchor for section in make_sections(read_run(directory))}
    checks = [
        {"name": "loss finite", "passed": True, "found": "0.5"},
        {"name": "steps", "passed": False, "found": "2 bad"},
    ]
    directory.write_json("verify.json", {"checks": checks, "dtypes": []})
    violations = [{"message": "eigh in float16", "source": "loss.py:3"}]
    directory.write_json(
        "audit.json", {"clean": False, "violations": violations, "operations": [{"part": "loss", "count": 3}]}
    )
    text = write_report(directory).read_text(encoding="utf-8")
    for expected in ("1 of 2 failed", "2 bad", "eigh in float16", "loss.py:3"):
        assert expected in text


@pytest.mark.parametrize(
    ("f1", "gospa_", "outcome"),
    [
        ((0.1, 0.05, 0.2), (-0.5, -0.6, -0.4), "better"),
        ((0.1, 0.05, 0.2), (-0.1, -0.3, 0.1), "better"),
        ((-0.1, -0.2, -0.05), (0.5, 0.4, 0.6), "worse"),
        ((0.1, 0.05, 0.2), (0.5, 0.4, 0.6), "mixed"),
        ((0.01, -0.02, 0.03), (0.0, -0.1, 0.1), "undecided"),
    ],
)
def test_outcome_follows_the_intervals_for_either_order_of_the_pair(
    f1: tuple[float, float, float], gospa_: tuple[float, float, float], outcome: str
) -> None:
    forward = {"f1_3d": Interval(*f1, 9), "gospa_m": Interval(*gospa_, 9)}
    backward = {name: Interval(-e.value, -e.high, -e.low, 9) for name, e in forward.items()}
    for pairs in ({("learned_ml", "mvdr"): forward}, {("mvdr", "learned_ml"): backward}):
        (comparison,) = compare_with_baselines(SourceMetrics("s", pairs=pairs))
        assert (comparison.method, comparison.baseline, comparison.outcome) == ("learned_ml", "mvdr", outcome)


def test_comparisons_use_the_complete_pipeline_and_put_references_last() -> None:
    entry = {"f1_3d": Interval(0.1, 0.05, 0.2, 9)}
    names = ("oracle_mvdr", "learned_mvdr", "greedy_ml", "learned_ml")
    pairs = {(a, b): entry for i, a in enumerate(names) for b in names[i + 1 :]}
    found = compare_with_baselines(SourceMetrics("s", pairs=pairs))
    assert [(comparison.method, comparison.baseline) for comparison in found] == [
        ("learned_ml", "greedy_ml"),
        ("learned_ml", "oracle_mvdr"),
    ]
    assert found[-1].is_reference


def test_errors_in_figures_match_those_of_matched_pairs(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    truth, snr_db = draw_truth(generator, 40)
    estimates = draw_estimates(generator, truth, snr_db, "mvdr")
    stored = {"truth": truth, "mvdr": estimates}
    arrays = {f"s/{name}/{key}": getattr(it, key) for name, it in stored.items() for key in ("position", "active")}
    gate = ToleranceConfig(azimuth_deg=2.0)
    run = Run(tmp_path, config={"evaluate": {"tolerance": {"azimuth_deg": 2.0}}}, estimates=arrays)
    errors, num_sources = matched_errors(run, "s")
    position, active, true, true_active = (
        np.asarray(leaf) for tree in (estimates, truth) for leaf in (tree.position, tree.active)
    )
    partner = match(position, active, true, true_active, gate, gate_range=False).estimate
    scene, source = np.nonzero(partner >= 0)
    expected = np.abs(pairwise_errors(position, true)[scene, source, partner[scene, source]])
    assert num_sources == truth.active.sum()
    assert 0 < len(scene) < num_sources
    found = errors["mvdr"]
    np.testing.assert_allclose(np.radians(found["azimuth_deg"]), expected[:, 0], atol=1e-6)
    np.testing.assert_allclose(found["range_m"], expected[:, 2], atol=1e-6)


def test_versions_are_read_from_the_run_if_recorded(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    assert read_run(directory).environment["jax"] == installed_environment()["jax"]
    directory.append_log({"kind": "environment", "jax": "0.10.2", "device": "cpu"})
    assert read_run(directory).environment == {"jax": "0.10.2", "device": "cpu"}


def test_report_does_not_import_jax() -> None:
    code = "import sys, risjax.report; sys.exit('jax' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
