"""Evaluation: any methods on any scenes, the same scenes for each."""

from risjax.evaluate.run import evaluate

__all__ = ["evaluate"]
