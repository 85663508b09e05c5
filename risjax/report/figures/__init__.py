"""Figures of the report; each function takes numbers and returns a `risjax.report.drawing.Drawing`."""

from risjax.report.figures.breakdown import metrics_along
from risjax.report.figures.calibration import coverage
from risjax.report.figures.comparison import compared_losses
from risjax.report.figures.errors import error_cdf
from risjax.report.figures.gradients import gradient_norms
from risjax.report.figures.loss import loss_curves
from risjax.report.figures.optimizer import optimizer_curves
from risjax.report.figures.pairs import paired_differences
from risjax.report.figures.scene import Points, scene_view
from risjax.report.figures.search import importances, parallel_coordinates, search_history
from risjax.report.figures.slices import slices
from risjax.report.figures.timing import seconds_per_scene, timing_bars
from risjax.report.figures.trials import trial_costs, trial_curves
from risjax.report.figures.validation import validation_curves

__all__ = [
    "Points",
    "compared_losses",
    "coverage",
    "error_cdf",
    "gradient_norms",
    "importances",
    "loss_curves",
    "metrics_along",
    "optimizer_curves",
    "paired_differences",
    "parallel_coordinates",
    "scene_view",
    "search_history",
    "seconds_per_scene",
    "slices",
    "timing_bars",
    "trial_costs",
    "trial_curves",
    "validation_curves",
]
