"""The Bayes limit: the posterior of single scenes by brute force, and the best decision under it for each metric.

Slow on purpose (seconds a scene) and blind like every estimator, but told the simulator's own laws. What a method
reaches beyond it by more than the interval is a leak.
"""

from risjax.experiments.bayes_limit.run import LimitError, limit

__all__ = ["LimitError", "limit"]
