"""Separation of the trials: the spread of their values over the spread of one configuration under other seeds.

A search ranks configurations by one training each. If the values of one configuration under several seeds spread as
widely as those of the trials, the ranking is chance; the search reports a ratio below 2. Other seeds give other initial
parameters, training scenes and validation scenes.
"""

import hashlib
import json
import statistics
from typing import Any

import optuna

from risjax.config import Config
from risjax.config.io import apply_overrides
from risjax.config.metric import lower_is_better
from risjax.experiments.search.objective import TrainFunction
from risjax.experiments.search.space import trial_config
from risjax.experiments.search.storage import exclusive
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train.health import NonFiniteTraining

SEPARATED = 2.0
"""Smallest ratio at which trials count as separated."""


def measure_separation(
    study: optuna.Study,
    config: Config,
    best: dict[str, Any],
    values: list[float],
    directory: RunDirectory,
    *,
    train: TrainFunction,
) -> dict[str, Any] | None:
    """Train the best configuration under ``search.seeds`` other seeds and compare the spreads.

    The study keeps the value of each seed for these values of the best trial, so that it is not trained again; workers
    that share the run's directory take turns.

    Args:
        study: the finished study.
        config: the search's configuration.
        best: the best trial's values, {dotted path: value}.
        values: the values of all complete trials.
        directory: the run; seed k trains in ``search/seeds/MARK/k``, MARK being that of the best trial's values.
        train: the training.

    Returns:
        ``seeds`` (their values, None for a non-finite training), ``spread_of_trials``, ``spread_of_seeds`` (standard
        deviations) and ``ratio``; None if there are fewer than three trials or two seeds with values.
    """
    if config.search.seeds < 2 or len(values) < 3:
        return None
    seeds, mark = [], hashlib.sha256(json.dumps(best, sort_keys=True).encode()).hexdigest()[:8]
    with exclusive(directory.search / "seeds.lock"):
        for number in range(1, config.search.seeds + 1):
            name = f"value_of_seed_{number}_of_{mark}"
            if name not in study.user_attrs:
                where = RunDirectory(directory.search / "seeds" / mark / str(number))
                value = _train_seed(config, best, number, where, train)
                study.set_user_attr(name, value)
            seeds.append(study.user_attrs[name])
    finite = [value for value in seeds if value is not None]
    if len(finite) < 2:
        return None
    trials, seed = statistics.stdev(values), statistics.stdev(finite)
    ratio = trials / seed if seed > 0 else None
    return {"seeds": seeds, "spread_of_trials": trials, "spread_of_seeds": seed, "ratio": ratio}


def _train_seed(
    config: Config, best: dict[str, Any], number: int, where: RunDirectory, train: TrainFunction
) -> float | None:
    other = apply_overrides(trial_config(config, best), {"run.seed": config.run.seed + number})
    seen: list[float] = []

    def on_epoch(record: dict[str, Any]) -> None:
        seen.append(float(record["validation"][config.search.metric]))

    try:
        train(other, where, Terminal(quiet=True), on_epoch=on_epoch)
    except NonFiniteTraining:
        return None
    return min(seen) if lower_is_better(config.search.metric) else max(seen)
