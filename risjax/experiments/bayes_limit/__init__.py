"""The Bayes limit: the posterior of single scenes by brute force, and the best decision under it for each metric.

It takes seconds a scene and has the same observations as every estimator, but knows the laws of the simulator. A method
that exceeds it by more than the interval has access to the truth.
"""

from risjax.experiments.bayes_limit.stage import LimitError, limit

__all__ = ["LimitError", "limit"]
