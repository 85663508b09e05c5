"""Metrics, one definition each, on the host."""

from risjax.metrics.detection import Gospa, gospa
from risjax.metrics.matching import Matches, cartesian, match, pairwise_errors
from risjax.metrics.quick import quick

__all__ = ["Gospa", "Matches", "cartesian", "gospa", "match", "pairwise_errors", "quick"]
