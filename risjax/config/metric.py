"""The metrics that a training or a search can be judged by."""

from typing import Literal

Metric = Literal["gospa_m", "f1_3d", "f1_angle", "nmse"]
"""GOSPA in metres, F1 in three dimensions or in angle, or the surrogate NMSE of R_pred."""


def lower_is_better(metric: Metric) -> bool:
    """Whether a smaller value of ``metric`` is the better one."""
    return metric in ("gospa_m", "nmse")
