"""Figures of an ablation: means over seeds with intervals, and paired differences from the first variant."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from risjax.config import ToleranceConfig
from risjax.experiments.ablate.variants import Variant
from risjax.experiments.evaluate import EvaluationScenes, as_estimates, per_scene_metrics
from risjax.metrics.bootstrap import Drawn, draw_ratios
from risjax.metrics.scoring import score
from risjax.metrics.seeds import over_seeds, paired_over_seeds
from risjax.runs.run_directory import RunDirectory

NETWORK = "network"
"""Key, in place of a method, of metrics of the network's prediction."""
METRICS = {NETWORK: ("nmse", "subspace_overlap"), "": ("f1_3d", "f1_angle", "gospa_m")}
"""Reported metrics: of the network, and of every method."""


class Measured(NamedTuple):
    """Measurements of one training.

    Attributes:
        fields: result of `risjax.experiments.evaluate.run_methods`, by method.
        training: result of `read_training`; empty where the weights belong to another variant.
    """

    fields: Mapping[str, Mapping[str, np.ndarray]]
    training: Mapping[str, int | float]


def read_training(directory: RunDirectory) -> dict[str, int | float]:
    """Return steps, skipped steps, seconds (with validation) and best epoch of a training, from its log."""
    epochs = list(directory.read_log("epoch"))
    last = epochs[-1]
    return {
        "steps": last["applied_updates"] + last["skipped_steps"],
        "skipped_steps": last["skipped_steps"],
        "seconds": sum(record["seconds"] for record in epochs),
        "best_epoch": last["best_epoch"],
    }


def compare_variants(
    variants: Sequence[Variant],
    measured: Mapping[str, Sequence[Measured | None]],
    scenes: EvaluationScenes,
    weights: Float[np.ndarray, "D S"],
    tolerance: ToleranceConfig,
) -> dict[str, Any]:
    """Return the figures of all variants.

    Args:
        variants: in order, the one to compare with first.
        measured: the trainings of each, one a seed; None where one was not finite.
        scenes: the scenes of all measurements.
        weights: of the resampled scenes, of `risjax.metrics.bootstrap.scene_weights`.
        tolerance: gates and GOSPA's constants.

    Returns:
        ``{"scenes", "reference", "variants": [{"name", "of", "settings", "failed_seeds", "training", "metrics":
        {method: {metric: {value, low, high, seeds}}}, "differences": likewise, from the reference}]}``.
    """

    def draw(training: Measured | None) -> dict[tuple[str, str], Drawn] | None:
        return None if training is None else _draw(training, scenes, weights, tolerance)

    drawn = {variant.name: list(map(draw, measured[variant.name])) for variant in variants}
    first = drawn[variants[0].name]
    entries = []
    for variant in variants:
        by_seed = drawn[variant.name]
        finite = [figures for figures in by_seed if figures is not None]
        pairs = [(a, b) for a, b in zip(by_seed, first, strict=True) if a is not None and b is not None]
        trainings = [run.training for run in measured[variant.name] if run is not None and run.training]
        entry = {
            "name": variant.name,
            "of": variant.of,
            "settings": dict(variant.settings),
            "failed_seeds": [seed for seed, figures in enumerate(by_seed) if figures is None],
            "training": {name: [run[name] for run in trainings] for name in (trainings[0] if trainings else ())},
            "metrics": {},
            "differences": {},
        }
        for method, metric in _keys(finite):
            alone = [figures[method, metric] for figures in finite]
            entry["metrics"].setdefault(method, {})[metric] = over_seeds(alone)
            both = [(a[method, metric], b[method, metric]) for a, b in pairs if (method, metric) in b]
            if both and variant is not variants[0]:
                difference = paired_over_seeds(*zip(*both, strict=True))
                entry["differences"].setdefault(method, {})[metric] = difference
        entries.append(entry)
    return {"scenes": len(scenes.sources.active), "reference": variants[0].name, "variants": entries}


def _draw(
    training: Measured, scenes: EvaluationScenes, weights: np.ndarray, tolerance: ToleranceConfig
) -> dict[tuple[str, str], Drawn]:
    """Every metric of one training by (method, metric), under the same resampled scenes for all."""
    found: dict[tuple[str, str], Drawn] = {}
    for method, fields in training.fields.items():
        ratios = score(as_estimates(fields), scenes.sources, tolerance, per_scene=per_scene_metrics(fields)).ratios
        shown = {name: ratios[name] for names in METRICS.values() for name in names if name in ratios}
        for metric, entry in draw_ratios(shown, weights).items():
            address = (NETWORK if metric in METRICS[NETWORK] else method, metric)
            if np.isfinite(entry.value):
                found.setdefault(address, entry)
    return found


def _keys(finite: Sequence[Mapping[tuple[str, str], Drawn]]) -> list[tuple[str, str]]:
    """Return the keys that all trainings of a variant share."""
    return [key for key in (finite[0] if finite else ()) if all(key in figures for figures in finite)]


def csv_text(result: Mapping[str, Any]) -> str:
    """Return a CSV table with one line a variant, method and metric, in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("value", "low", "high")
    writer.writerow(["variant", "of", "method", "metric", *ends, *(f"difference_{end}" for end in ends), "by_seed"])
    for entry in result["variants"]:
        for method, metrics in entry["metrics"].items():
            for metric, figure in metrics.items():
                difference = entry["differences"].get(method, {}).get(metric, {})
                values = [figure[end] for end in ends] + [difference.get(end, "") for end in ends]
                by_seed = " ".join(map(repr, figure["seeds"]))
                writer.writerow([entry["name"], entry["of"] or "", method, metric, *values, by_seed])
    return text.getvalue()
