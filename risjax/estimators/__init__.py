"""Classical estimators: a covariance or the snapshots in, sources in fixed slots out."""

from risjax.estimators.greedy import localise_greedy
from risjax.estimators.grid import Grid, make_grid
from risjax.estimators.mvdr import localise_mvdr
from risjax.estimators.polish import polish
from risjax.estimators.select import select_and_polish

__all__ = ["Grid", "localise_greedy", "localise_mvdr", "make_grid", "polish", "select_and_polish"]
