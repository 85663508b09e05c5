"""Evaluation: any methods on any scenes, the same scenes for each."""

from risjax.experiments.evaluate.measure import (
    Compiled,
    as_estimates,
    per_scene_metrics,
    read_estimates,
    run_methods,
    write_estimates,
)
from risjax.experiments.evaluate.scenes import EvaluationScenes, load_scenes
from risjax.experiments.evaluate.stage import evaluate, stored_estimates, stored_fits

__all__ = [
    "Compiled",
    "EvaluationScenes",
    "as_estimates",
    "evaluate",
    "load_scenes",
    "per_scene_metrics",
    "read_estimates",
    "run_methods",
    "stored_estimates",
    "stored_fits",
    "write_estimates",
]
