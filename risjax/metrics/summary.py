"""Content of ``metrics.json``: metrics of all methods by breakdown, with intervals, and paired differences."""

import itertools
from typing import Any

import numpy as np
from jaxtyping import Float

from risjax.config import ToleranceConfig
from risjax.metrics.bootstrap import Drawn, Ratio, difference, draw_medians, draw_ratios, scene_weights
from risjax.metrics.breakdowns import scene_breakdowns, source_breakdowns
from risjax.metrics.calibration import draw_calibration_error
from risjax.metrics.scoring import Scores, score
from risjax.types import Estimates, Sources


def summarise(
    methods: dict[str, Estimates],
    sources: Sources,
    tolerance: ToleranceConfig,
    *,
    snr_db: Float[np.ndarray, " S"] | None = None,
    bound_std: Float[np.ndarray, "S K 3"] | None = None,
    per_scene: dict[str, dict[str, np.ndarray]] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Metrics of several methods on the same scenes.

    Args:
        methods: estimates by method, leading axis S, host arrays.
        sources: the truth.
        tolerance: gates and GOSPA's constants.
        snr_db: SNR of each scene, for the breakdown.
        bound_std: see `risjax.metrics.scoring.score`.
        per_scene: further metrics by method, e.g. ``{"learned_mvdr": {"nmse": [S]}}``.
        draws: number of bootstrap draws for each 95 % interval, common to all methods.
        seed: seed of the bootstrap.

    Returns:
        ``{"methods": {name: {breakdown: {metric: {value, low, high, count}}}}, "pairs": {a_minus_b: {"overall":
        {metric: {value, low, high, count}}}}, "scenes": S}``. Metrics that a breakdown leaves undefined are absent.
    """
    num_scenes = len(np.asarray(sources.active))
    weights = scene_weights(num_scenes, draws, seed)
    by_scene, by_source = scene_breakdowns(sources, snr_db), source_breakdowns(sources)
    tables: dict[str, dict[str, Any]] = {}
    overall: dict[str, dict[str, Drawn]] = {}
    for name, estimates in methods.items():
        scores = score(estimates, sources, tolerance, bound_std=bound_std, per_scene=(per_scene or {}).get(name))
        drawn = {part: _drawn(scores, chosen, weights) for part, chosen in (by_scene | by_source).items()}
        overall[name] = drawn["overall"]
        tables[name] = {
            part: {metric: entry.interval() for metric, entry in metrics.items()} for part, metrics in drawn.items()
        }
    pairs = {
        f"{a}_minus_{b}": {
            "overall": {
                metric: difference(overall[a][metric], overall[b][metric])
                for metric in overall[a]
                if metric in overall[b]
            }
        }
        for a, b in itertools.combinations(methods, 2)
    }
    return {"methods": tables, "pairs": pairs, "scenes": num_scenes}


def _drawn(scores: Scores, chosen: np.ndarray, weights: np.ndarray) -> dict[str, Drawn]:
    """Metrics of a subset: ``chosen`` scenes [S], or sources [S, K], which have no metrics of whole scenes."""

    def restrict(values: np.ndarray) -> np.ndarray:
        mask = chosen if chosen.ndim == values.ndim else chosen[:, None]
        return np.where(mask, values, 0)

    kept = {
        name: Ratio(
            restrict(ratio.numerator),
            restrict(ratio.denominator),
            ratio.root,
            None if ratio.count is None else restrict(ratio.count),
        )
        for name, ratio in scores.ratios.items()
        if ratio.numerator.ndim >= chosen.ndim
    }
    drawn = draw_ratios(kept, weights)
    for name, (values, counts) in scores.medians.items():
        drawn[name] = draw_medians(values, restrict(counts), weights)
    if scores.existence is not None and chosen.ndim == 1:
        probability, happened, counted = scores.existence
        drawn["ece"] = draw_calibration_error(probability, happened, counted & chosen[:, None], weights)
    return {name: entry for name, entry in drawn.items() if np.isfinite(entry.value)}
