"""Display names of methods, metrics and axes, and formatting of numbers."""

import math

from risjax.config.metric import lower_is_better
from risjax.report.metrics_view import Interval, Slice

NO_VALUE = "\N{EN DASH}"
"""Shown for a missing value."""
_METHODS = {
    "learned_mvdr": "learned MVDR",
    "mvdr": "sample MVDR",
    "oracle_mvdr": "oracle MVDR",
    "learned_ml": "learned ML",
    "greedy_ml": "greedy ML",
    "greedy_ml_known_k": "greedy ML (K known)",
}
_ACRONYMS = {"mvdr": "MVDR", "music": "MUSIC", "ml": "ML", "omp": "OMP", "esprit": "ESPRIT", "sbl": "SBL"}
_METRICS = {
    "f1_3d": "F1, 3-D",
    "f1_angle": "F1, angle",
    "precision_3d": "Precision, 3-D",
    "recall_3d": "Recall, 3-D",
    "precision_angle": "Precision, angle",
    "recall_angle": "Recall, angle",
    "gospa_m": "GOSPA (m)",
    "gospa_localisation": "GOSPA, localisation (m²)",
    "gospa_missed": "GOSPA, missed (m²)",
    "gospa_false": "GOSPA, false (m²)",
    "nmse": "NMSE of R",
    "subspace_overlap": "Signal-subspace overlap",
    "nmse_of_fit": "NMSE of the fitted covariance",
    "subspace_overlap_of_fit": "Signal-subspace overlap of the fit",
    "rmse_azimuth_deg": "RMSE azimuth (°)",
    "rmse_elevation_deg": "RMSE elevation (°)",
    "rmse_range_m": "RMSE range (m)",
    "rmse_position_m": "RMSE position (m)",
    "k_accuracy": "K accuracy",
    "k_bias": "Bias of K",
    "crb_azimuth_deg": "Cramér-Rao bound, azimuth (°)",
    "crb_elevation_deg": "Cramér-Rao bound, elevation (°)",
    "crb_range_m": "Cramér-Rao bound, range (m)",
    "calibration_unmatched": "Unmatched sources",
}
_AXES = {
    "snr": "SNR (dB)",
    "snr_db": "SNR (dB)",
    "k": "Sources in the scene, K",
    "num_sources": "Sources in the scene, K",
    "range": "Range of the source (m)",
    "range_m": "Range of the source (m)",
    "separation": "Smallest angular separation (°)",
    "separation_deg": "Smallest angular separation (°)",
    "near_far": "Near-far ratio (dB)",
    "near_far_db": "Near-far ratio (dB)",
}


def method_name(method: str) -> str:
    """Return the display name of a method, such as "sample MVDR" for ``mvdr``."""
    return _METHODS.get(method) or " ".join(_ACRONYMS.get(word, word) for word in method.split("_"))


def metric_name(metric: str) -> str:
    """Return the display name of a metric with its unit, such as "GOSPA (m)" for ``gospa_m``."""
    if metric in _METRICS:
        return _METRICS[metric]
    for suffix, unit in (("_deg", " (°)"), ("_rad", " (rad)"), ("_m", " (m)"), ("_db", " (dB)")):
        if metric.endswith(suffix):
            return _sentence(metric.removesuffix(suffix)) + unit
    return _sentence(metric)


def metric_phrase(metric: str) -> str:
    """Return the name of a metric for use in a sentence, without its unit."""
    return {"f1_3d": "3-D F1", "f1_angle": "angle F1"}.get(metric) or metric_name(metric).partition(" (")[0]


def axis_name(axis: str) -> str:
    """Return the plot label of a breakdown axis."""
    return _AXES.get(axis) or metric_name(axis)


def slice_name(part: Slice) -> str:
    """Return a short name of a slice, such as ``-5 to 0`` or ``3``."""
    if math.isnan(part.low):
        return part.key
    if part.low == part.high:
        return f"{part.low:g}"
    if math.isinf(part.high):
        return f"above {part.low:g}"
    return f"below {part.high:g}" if math.isinf(part.low) else f"{part.low:g} to {part.high:g}"


def number(value: float | None, *, sign: bool = False) -> str:
    """Format a number with three significant digits, at most four decimals and a typographic minus sign."""
    if value is None or math.isnan(value):
        return NO_VALUE
    size = abs(value)
    if size == 0:
        text = "0"
    elif size >= 1e5 or size < 1e-3:
        text = f"{size:.1e}"
    else:
        text = f"{size:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.01 else 4}f}"
    mark = "\u2212" if value < 0 and float(text) != 0 else "+" if sign and value > 0 else ""
    return mark + text


def bracket(interval: Interval, *, sign: bool = False) -> str:
    """Format the interval as ``[0.41, 0.47]``; empty if there is none."""
    if math.isnan(interval.low) or math.isnan(interval.high):
        return ""
    return f"[{number(interval.low, sign=sign)}, {number(interval.high, sign=sign)}]"


def arrow(metric: str) -> str:
    """Return an arrow that points in the direction of better values."""
    return "↓" if lower_is_better(metric) else "↑"


def capitalised(text: str) -> str:
    """Return the text with its first letter in upper case, the others unchanged."""
    return text[:1].upper() + text[1:]


def _sentence(name: str) -> str:
    return capitalised(name.replace("_", " "))
