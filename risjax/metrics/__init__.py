"""Metrics, one definition each, on the host."""

from risjax.metrics.bootstrap import Ratio, draw_ratios, scene_weights
from risjax.metrics.calibration import draw_calibration_error, expected_calibration_error
from risjax.metrics.detection import Gospa, gospa
from risjax.metrics.matching import Matches, cartesian, match, pairwise_errors
from risjax.metrics.quick import quick
from risjax.metrics.scoring import Scores, score
from risjax.metrics.summary import summarise

__all__ = [
    "Gospa",
    "Matches",
    "Ratio",
    "Scores",
    "cartesian",
    "draw_calibration_error",
    "draw_ratios",
    "expected_calibration_error",
    "gospa",
    "match",
    "pairwise_errors",
    "quick",
    "scene_weights",
    "score",
    "summarise",
]
