"""The Bayes limit: sampled posteriors of single scenes, and the best decision under them for each metric.

The posterior has the same observations as every estimator, but knows the distributions of the simulator. A method that
exceeds the limit by more than the interval has access to the truth. A scene takes tens of seconds.
"""

from risjax.experiments.bayes_limit.stage import LimitError, limit

__all__ = ["LimitError", "limit"]
