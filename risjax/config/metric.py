"""Metrics that select the best epoch of a training or trial of a search."""

from typing import Literal

Metric = Literal["gospa_m", "f1_3d", "f1_angle", "nmse"]
"""GOSPA in metres, F1 in three dimensions or in angle, or the surrogate NMSE of R_pred."""

_LOWER = ("gospa", "nmse", "rmse", "error", "median_abs", "missed", "false", "localisation", "ece", "seconds")
"""Beginnings of the names of metrics of which a smaller value is better."""


def lower_is_better(metric: str) -> bool:
    """Return whether a smaller value of a metric is better, by its name in ``metrics.json``."""
    return metric.startswith(_LOWER)
