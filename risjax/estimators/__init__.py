"""Classical estimators: from a covariance or snapshots to sources in a fixed number of slots."""

from risjax.estimators.esprit import localise_esprit
from risjax.estimators.greedy import localise_greedy
from risjax.estimators.interface import (
    CovarianceEstimator,
    NotApplicableError,
    Search,
    SnapshotEstimator,
    covariance_estimator,
    snapshot_estimator,
)
from risjax.estimators.joint_ml import polish
from risjax.estimators.model_order import count_by_aic, count_by_mdl, count_by_sorte
from risjax.estimators.music import localise_music, localise_music_2_5d
from risjax.estimators.mvdr import localise_bartlett, localise_mvdr
from risjax.estimators.omp import localise_omp
from risjax.estimators.select import localise_omp_ml, select_and_polish
from risjax.estimators.sparse import localise_sparse
from risjax.spectral.grid import Grid, make_grid

__all__ = [
    "CovarianceEstimator",
    "Grid",
    "NotApplicableError",
    "Search",
    "SnapshotEstimator",
    "count_by_aic",
    "count_by_mdl",
    "count_by_sorte",
    "covariance_estimator",
    "localise_bartlett",
    "localise_esprit",
    "localise_greedy",
    "localise_music",
    "localise_music_2_5d",
    "localise_mvdr",
    "localise_omp",
    "localise_omp_ml",
    "localise_sparse",
    "make_grid",
    "polish",
    "select_and_polish",
    "snapshot_estimator",
]
