"""Evaluation: any methods on any scenes, the same scenes for each."""

from risjax.evaluate.run import evaluate, stored_estimates
from risjax.evaluate.scenes import EvaluationScenes, load_scenes

__all__ = ["EvaluationScenes", "evaluate", "load_scenes", "stored_estimates"]
