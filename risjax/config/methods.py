"""Names of the methods of localisation, common to the configuration and to `risjax.localise`.

`METHODS` registers them, those of other packages included (`risjax.registry`).
"""

from risjax.registry import Estimator, collect

_METHODS = "risjax.experiments.evaluate.methods"

METHODS: dict[str, Estimator] = collect(
    "risjax.estimators",
    Estimator,
    (
        Estimator(name="learned_mvdr", reads="network", implementation=f"{_METHODS}:learned_mvdr"),
        Estimator(
            name="learned_ml",
            reads="network",
            implementation=f"{_METHODS}:learned_ml",
            needs_common_field=True,
        ),
        Estimator(name="mvdr", reads="covariance", implementation="risjax.estimators.mvdr:localise_mvdr"),
        Estimator(name="bartlett", reads="covariance", implementation="risjax.estimators.mvdr:localise_bartlett"),
        Estimator(name="music", reads="covariance", implementation="risjax.estimators.music:localise_music"),
        Estimator(name="music_2_5d", reads="covariance", implementation="risjax.estimators.music:localise_music_2_5d"),
        Estimator(name="esprit", reads="covariance", implementation="risjax.estimators.esprit:localise_esprit"),
        Estimator(
            name="greedy_ml",
            reads="snapshots",
            implementation="risjax.estimators.greedy:localise_greedy",
            needs_common_field=True,
            grid="greedy.grid",
        ),
        Estimator(
            name="greedy_ml_known_k",
            reads="snapshots",
            implementation="risjax.estimators.greedy:localise_greedy",
            needs_common_field=True,
            knows_count=True,
            grid="greedy.grid",
        ),
        Estimator(
            name="omp",
            reads="snapshots",
            implementation="risjax.estimators.select:localise_omp_ml",
            needs_common_field=True,
            grid="greedy.grid",
        ),
        Estimator(
            name="sparse",
            reads="snapshots",
            implementation="risjax.estimators.sparse:localise_sparse",
            grid="sparse.grid",
            in_sequence=True,
        ),
        Estimator(
            name="oracle_mvdr", reads="truth", implementation="risjax.estimators.mvdr:localise_mvdr", knows_count=True
        ),
    ),
)
"""Every method by its name."""
