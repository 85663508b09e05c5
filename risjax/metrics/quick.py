"""Metrics of the validation after each epoch, and their standard errors over scenes."""

import numpy as np

from risjax.config import ToleranceConfig
from risjax.metrics.detection import gospa
from risjax.metrics.matching import match
from risjax.types import Estimates, Sources


def quick(estimates: Estimates, sources: Sources, tolerance: ToleranceConfig) -> dict[str, float]:
    """F1, precision and recall in 3-D and in angle, and mean GOSPA, of a batch of scenes.

    Args:
        estimates: leading axis S; device or host arrays.
        sources: the truth, leading axis S.
        tolerance: gates and GOSPA's constants.

    Returns:
        ``f1_3d``, ``f1_angle``, ``precision_3d``, ``recall_3d``, ``precision_angle``, ``recall_angle``, ``gospa_m``
        and ``k_accuracy``. Precision without estimates and F1 without sources and estimates are 0.
    """
    position, active, true, present = _arrays(estimates, sources)
    result: dict[str, float] = {}
    for name, gate_range in (("3d", True), ("angle", False)):
        hits = int(match(position, active, true, present, tolerance, gate_range=gate_range).matched.sum())
        claimed, existing = int(active.sum()), int(present.sum())
        result[f"f1_{name}"] = 2 * hits / max(claimed + existing, 1)
        result[f"precision_{name}"] = hits / max(claimed, 1)
        result[f"recall_{name}"] = hits / max(existing, 1)
    result["gospa_m"] = float(gospa(position, active, true, present, tolerance).distance_m.mean())
    result["k_accuracy"] = float((active.sum(1) == present.sum(1)).mean())
    return result


def standard_errors(estimates: Estimates, sources: Sources, tolerance: ToleranceConfig) -> dict[str, float]:
    """Standard errors of the F1 and the GOSPA of `quick` over draws of the scenes.

    The F1 of the sums H of hits and T of claimed and existing sources, 2 H / T, is linearised: a scene deviates by
    (2 h - F1 t) / mean(t).

    Args:
        estimates: leading axis S; device or host arrays.
        sources: the truth, leading axis S.
        tolerance: gates and GOSPA's constants.

    Returns:
        ``f1_3d``, ``f1_angle`` and ``gospa_m``; NaN for a single scene.
    """
    position, active, true, present = _arrays(estimates, sources)
    total = active.sum(1) + present.sum(1)
    deviations = {"gospa_m": gospa(position, active, true, present, tolerance).distance_m}
    for name, gate_range in (("3d", True), ("angle", False)):
        hits = match(position, active, true, present, tolerance, gate_range=gate_range).matched.sum(1)
        f1 = 2 * hits.sum() / max(total.sum(), 1)
        deviations[f"f1_{name}"] = (2 * hits - f1 * total) / max(total.mean(), 1e-9)
    return {name: standard_error(values) for name, values in deviations.items()}


def standard_error(values: np.ndarray) -> float:
    """Standard error of a mean over scenes; NaN for a single scene."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _arrays(estimates: Estimates, sources: Sources) -> tuple[np.ndarray, ...]:
    return tuple(map(np.asarray, (estimates.position, estimates.active, sources.position, sources.active)))
