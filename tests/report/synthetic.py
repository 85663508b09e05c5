"""Synthetic run directory: random numbers in the files that a run writes, metrics from `risjax.metrics`."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from risjax.config import ToleranceConfig
from risjax.config.io import load_config, to_yaml
from risjax.metrics.summary import summarise
from risjax.runs.run_directory import RunDirectory
from risjax.types import Estimates, Sources

NUM_SOURCES = 5
STEPS_PER_EPOCH, EPOCHS = 40, 6

_CONFIG = """
stages: [search, train, evaluate, report]
physics: original
train: {epochs: 6, steps_per_epoch: 40}
evaluate:
  methods: [learned_ml, learned_mvdr, mvdr, greedy_ml, oracle_mvdr]
search:
  trials: 6
  space:
    train.learning_rate: {log_uniform: [1.0e-4, 3.0e-3]}
    model.width: {choice: [64, 128]}
    loss.projector.weight: {uniform: [0.0, 1.0]}
"""

_QUALITY = {  # (chance that a source is found, angle error in degrees, relative range error, false alarms, seconds)
    "learned_ml": (0.85, 0.9, 0.07, 0.15, 9e-3),
    "learned_mvdr": (0.7, 1.4, 0.1, 0.3, 4e-3),
    "mvdr": (0.5, 2.2, 0.2, 1.0, 3e-3),
    "greedy_ml": (0.86, 0.8, 0.09, 0.2, 0.11),
    "oracle_mvdr": (0.98, 0.2, 0.02, 0.0, 4e-3),
}


def write_run(
    path: Path, *, sources: tuple[str, ...] = ("held_out", "original_scenes"), scenes: int = 120
) -> RunDirectory:
    """Write a finished run with a search, a training with one skipped step, and an evaluation on ``sources``."""
    directory = RunDirectory(path)
    directory.config_path.write_text(_CONFIG, encoding="utf-8")
    directory.config_path.write_text(to_yaml(load_config(str(directory.config_path))), encoding="utf-8")
    write_search(directory)
    write_log(directory)
    write_evaluation(directory, sources, scenes)
    for stage in ("search", "train", "evaluate"):
        directory.append_log(
            {"kind": "stage", "stage": stage, "seconds": 61.0, "passed": True, "peak_memory_bytes": 7 * 2**27}
        )
        directory.mark_done(stage)
    return directory


def write_log(directory: RunDirectory) -> None:
    """Write ``log.jsonl`` with `EPOCHS` epochs, of which step 57 was skipped."""
    generator = np.random.default_rng(0)
    total, skipped = EPOCHS * STEPS_PER_EPOCH, 0
    leaves = ["labels.factor", "labels.sample_factor", "prediction.factor.imag", "prediction.factor.real"]
    before = dict.fromkeys(leaves[:2], "complex64") | dict.fromkeys(leaves[2:], "bfloat16")
    after = dict.fromkeys(leaves[:2], "complex64") | {"prediction.factor": "complex64"}
    directory.append_log({"kind": "dtypes", "before": before, "after": after})
    for step in range(total):
        epoch = step // STEPS_PER_EPOCH + 1
        is_bad = step == 57
        skipped += is_bad
        covariance = 0.3 + 0.9 * np.exp(-step / 60) + 0.04 * generator.standard_normal()
        projector = 0.5 + 0.4 * np.exp(-step / 90) + 0.03 * generator.standard_normal()
        record = {
            "kind": "step",
            "step": step,
            "epoch": epoch,
            "loss": covariance + 0.5 * projector,
            "terms": {"covariance": covariance, "projector": projector},
            "grad_norm_backbone": float("nan") if is_bad else np.exp(-step / 100 + 0.3 * generator.standard_normal()),
            "grad_norm_head": float("nan") if is_bad else 0.4 * np.exp(-step / 150 + 0.3 * generator.standard_normal()),
            "update_norm": 0.0 if is_bad else 0.3 * np.sin(np.pi * (step + 1) / (total + 1)),
            "param_norm": 20 + step / 80,
            "finite": not is_bad,
            "loss_scale": 2.0**15 if step < 58 else 2.0**14,
            "learning_rate": 1e-3 * np.sin(np.pi * (step + 1) / (total + 1)),
            "skipped": skipped,
            "skipped_in_a_row": int(is_bad),
            "scenes_per_second": 125 + 6 * generator.standard_normal(),
        }
        directory.append_log(record)
        if (step + 1) % STEPS_PER_EPOCH == 0:
            directory.append_log(_epoch(epoch, skipped, step + 1, generator))


def _epoch(epoch: int, skipped: int, steps: int, generator: np.random.Generator) -> dict:
    grown = 1 - np.exp(-epoch / 3)
    validation = {
        "nmse": 1.05 - 0.6 * grown,
        "f1_3d": 0.1 + 0.5 * grown + 0.01 * generator.standard_normal(),
        "f1_angle": 0.2 + 0.6 * grown + 0.01 * generator.standard_normal(),
        "gospa_m": 3.0 - 1.2 * grown + (0.1 if epoch == EPOCHS else 0.0),
        "k_accuracy": 0.2 + 0.3 * grown,
    }
    return {
        "kind": "epoch",
        "epoch": epoch,
        "loss": 1.5 - 0.9 * grown,
        "validation": validation,
        "best_epoch": min(epoch, EPOCHS - 1),
        "finite": True,
        "skipped_steps": skipped,
        "applied_updates": steps - skipped,
        "schedule_count": steps - skipped,
        "scenes_per_second": 125.0,
        "seconds": 21.0,
    }


def write_search(directory: RunDirectory) -> None:
    """Write ``search/trials.json`` and ``search/summary.json`` with six trials, two pruned and one failed."""
    generator = np.random.default_rng(1)
    trials = []
    for number in range(6):
        params = {
            "train.learning_rate": float(10 ** generator.uniform(-4, -2.5)),
            "model.width": [64, 128][number % 2],
            "loss.projector.weight": float(generator.uniform()),
        }
        state = {2: "pruned", 4: "pruned", 5: "failed"}.get(number, "complete")
        curve = {
            str(epoch): 3.0 - 0.2 * epoch - 0.1 * number
            for epoch in range(1, {"pruned": 2, "failed": 0}.get(state, 3) + 1)
        }
        reason = {
            2: "its value of epoch 2 is above the median of the others",
            4: "heads must divide width",
            5: "failed twice",
        }
        value = curve["3"] if state == "complete" else None
        trials.append(
            {"number": number, "state": state, "value": value, "params": params, "reason": reason.get(number),
             "intermediate": curve, "seconds": 12.0, "attempts": 1, "is_best": number == 3}
        )  # fmt: skip
    best = {name: trials[3][name] for name in ("number", "value", "params")}
    summary = {
        "metric": "gospa_m",
        "direction": "minimise",
        "trials": 6,
        "best": best,
        "median": 2.3,
        "separation": {"seeds": [2.2, 2.3], "spread_of_trials": 0.2, "spread_of_seeds": 0.07, "ratio": 2.86},
        "importances": {"train.learning_rate": 0.7, "loss.projector.weight": 0.2, "model.width": 0.1},
        "seconds": 72.0,
        "epochs_trained": 13,
        "epochs_pruned_away": 2,
    }
    (directory.search / "trials.json").write_text(json.dumps(trials), encoding="utf-8")
    (directory.search / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


def write_evaluation(directory: RunDirectory, names: tuple[str, ...], scenes: int) -> None:
    """Write ``metrics.json`` and ``estimates.npz`` in the format of `risjax.experiments.evaluate`."""
    arrays: dict[str, Any] = {}
    result: dict = {"sources": {}}
    for seed, name in enumerate(names):
        generator = np.random.default_rng(seed)
        truth, snr_db = draw_truth(generator, scenes)
        methods = {method: draw_estimates(generator, truth, snr_db, method) for method in _QUALITY}
        bound = np.broadcast_to(np.array([0.004, 0.004, 0.08]), truth.position.shape)
        bound = bound * 10 ** (-snr_db / 20)[:, None, None] * (1 + truth.position[..., 2:])
        nmse = {"learned_ml": 0.4, "learned_mvdr": 0.4, "mvdr": 1.1}
        per_scene = {m: {"nmse": mean * generator.gamma(8, 1 / 8, scenes)} for m, mean in nmse.items()}
        entry = summarise(
            methods, truth, ToleranceConfig(), snr_db=snr_db, bound_std=bound, per_scene=per_scene, draws=200
        )
        entry["timing"] = {method: {"compile_s": 3.1, "scene_s": quality[-1]} for method, quality in _QUALITY.items()}
        entry["notes"] = []
        result["sources"][name] = entry
        fields = {"position": truth.position, "active": truth.active, "amplitude": truth.amplitude, "snr_db": snr_db}
        arrays |= {f"{name}/truth/{field}": values for field, values in fields.items()}
        for method, estimates in methods.items():
            arrays |= {f"{name}/{method}/{field}": values for field, values in estimates._asdict().items()}
    directory.write_json("metrics.json", result)
    np.savez_compressed(directory.estimates_path, **arrays)


def draw_truth(generator: np.random.Generator, scenes: int) -> tuple[Sources, np.ndarray]:
    """Return random sources [scenes, 5] with 1 to 5 active, and the SNR of each scene."""
    low, high = np.array([-np.pi / 3, -np.pi / 6, 0.5]), np.array([np.pi / 3, np.pi / 6, 10.0])
    active = np.arange(NUM_SOURCES)[None] < generator.integers(1, NUM_SOURCES + 1, scenes)[:, None]
    position = generator.uniform(low, high, (scenes, NUM_SOURCES, 3)) * active[..., None]
    amplitude = active * np.exp(1j * generator.uniform(0, 2 * np.pi, active.shape)) / np.maximum(position[..., 2], 0.5)
    return Sources._make((position, amplitude, active)), generator.uniform(-5, 20, scenes)


def draw_estimates(generator: np.random.Generator, truth: Sources, snr_db: np.ndarray, method: str) -> Estimates:
    """Return random estimates with the quality of a method; errors decrease with SNR."""
    found, angle_deg, relative, false_alarms, _ = _QUALITY[method]
    scenes = len(snr_db)
    better = 10 ** (-(snr_db - 10) / 30)[:, None]
    chance = np.clip(1 - (1 - found) * better * (1 + truth.position[..., 2] / 5) / 1.8, 0.02, 0.99)
    hit = truth.active & (generator.random(truth.active.shape) < chance)
    spare = ~truth.active & (generator.random(truth.active.shape) < false_alarms / NUM_SOURCES)
    std = np.stack(
        [
            np.broadcast_to(np.radians(angle_deg) * better, hit.shape),
            np.broadcast_to(np.radians(angle_deg) * better, hit.shape),
            relative * truth.position[..., 2] * better,
        ],
        axis=-1,
    )
    stray = generator.uniform([-1.0, -0.5, 0.5], [1.0, 0.5, 10.0], (scenes, NUM_SOURCES, 3))
    position = np.where(hit[..., None], truth.position + std * generator.standard_normal(std.shape), stray)
    position[..., 2] = np.maximum(position[..., 2], 0.3)
    active = hit | spare
    known = active[..., None] & (method in ("learned_ml", "greedy_ml"))
    return Estimates._make(
        (
            position * active[..., None],
            truth.amplitude * active,
            active,
            np.where(known, np.where(spare[..., None], 0.05, std), np.inf),
            generator.random(active.shape) * active,
            np.full(active.shape, np.nan),
        )
    )
