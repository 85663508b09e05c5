"""Metrics of the validation after each epoch, without intervals."""

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
    position, active = np.asarray(estimates.position), np.asarray(estimates.active)
    true, present = np.asarray(sources.position), np.asarray(sources.active)
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
