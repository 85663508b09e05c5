"""From the measured trainings to figures: means over seeds with intervals, and paired differences from the first."""

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
"""Stands for a method where a metric belongs to the prediction, whatever is made of it."""
METRICS = {NETWORK: ("nmse", "subspace_overlap"), "": ("f1_3d", "f1_angle", "gospa_m")}
"""What is reported: of the network, and of every method."""


class Measured(NamedTuple):
    """One training, measured.

    Attributes:
        fields: of `risjax.experiments.evaluate.run_methods`, by method.
        training: of `read_training`; empty where the weights are another variant's.
    """

    fields: Mapping[str, Mapping[str, np.ndarray]]
    training: Mapping[str, int | float]


def read_training(directory: RunDirectory) -> dict[str, int | float]:
    """How a training went, by its log: steps, steps skipped, seconds (validation included), the best epoch."""
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
    """The figures of all variants.

    Args:
        variants: in order, the one to compare with first.
        measured: of each, a training a seed; None where it was not finite.
        scenes: what all were measured on.
        weights: of the resampled scenes, of `risjax.metrics.bootstrap.scene_weights`.
        tolerance: gates and GOSPA's constants.

    Returns:
        ``{"scenes", "reference", "variants": [{"name", "of", "settings", "failed_seeds", "training", "metrics":
        {method: {metric: {value, low, high, seeds}}}, "differences": likewise, from the reference}]}``.
    """

    def draw(one: Measured | None) -> dict[tuple[str, str], Drawn] | None:
        return None if one is None else _draw(one, scenes, weights, tolerance)

    drawn = {variant.name: list(map(draw, measured[variant.name])) for variant in variants}
    first = drawn[variants[0].name]
    entries = []
    for variant in variants:
        own = drawn[variant.name]
        finite = [one for one in own if one is not None]
        pairs = [(a, b) for a, b in zip(own, first, strict=True) if a is not None and b is not None]
        trainings = [one.training for one in measured[variant.name] if one is not None and one.training]
        entry = {
            "name": variant.name,
            "of": variant.of,
            "settings": dict(variant.settings),
            "failed_seeds": [seed for seed, one in enumerate(own) if one is None],
            "training": {name: [one[name] for one in trainings] for name in (trainings[0] if trainings else ())},
            "metrics": {},
            "differences": {},
        }
        for method, metric in _keys(finite):
            alone = [one[method, metric] for one in finite]
            entry["metrics"].setdefault(method, {})[metric] = over_seeds(alone)
            both = [(a[method, metric], b[method, metric]) for a, b in pairs if (method, metric) in b]
            if both and variant is not variants[0]:
                difference = paired_over_seeds(*zip(*both, strict=True))
                entry["differences"].setdefault(method, {})[metric] = difference
        entries.append(entry)
    return {"scenes": len(scenes.sources.active), "reference": variants[0].name, "variants": entries}


def _draw(
    one: Measured, scenes: EvaluationScenes, weights: np.ndarray, tolerance: ToleranceConfig
) -> dict[tuple[str, str], Drawn]:
    """Every metric of one training by (method, metric), under the same resampled scenes for all."""
    found: dict[tuple[str, str], Drawn] = {}
    for method, fields in one.fields.items():
        ratios = score(as_estimates(fields), scenes.sources, tolerance, per_scene=per_scene_metrics(fields)).ratios
        shown = {name: ratios[name] for names in METRICS.values() for name in names if name in ratios}
        for metric, entry in draw_ratios(shown, weights).items():
            address = (NETWORK if metric in METRICS[NETWORK] else method, metric)
            if np.isfinite(entry.value):
                found.setdefault(address, entry)
    return found


def _keys(finite: Sequence[Mapping[tuple[str, str], Drawn]]) -> list[tuple[str, str]]:
    """What all of a variant's trainings have."""
    return [key for key in (finite[0] if finite else ()) if all(key in one for one in finite)]


def csv_text(result: Mapping[str, Any]) -> str:
    """A line a variant, method and metric, in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("value", "low", "high")
    writer.writerow(["variant", "of", "method", "metric", *ends, *(f"difference_{end}" for end in ends), "by_seed"])
    for entry in result["variants"]:
        for method, metrics in entry["metrics"].items():
            for metric, figure in metrics.items():
                difference = entry["differences"].get(method, {}).get(metric, {})
                own = [figure[end] for end in ends] + [difference.get(end, "") for end in ends]
                by_seed = " ".join(map(repr, figure["seeds"]))
                writer.writerow([entry["name"], entry["of"] or "", method, metric, *own, by_seed])
    return text.getvalue()
