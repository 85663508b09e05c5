"""Classical estimators: a covariance or the snapshots in, sources in fixed slots out."""

from risjax.estimators.grid import Grid, make_grid
from risjax.estimators.mvdr import localise_mvdr

__all__ = ["Grid", "localise_mvdr", "make_grid"]
