"""The search: opens or joins the study, runs trials until every slot is finished, returns the best configuration."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import BaseStorage

from risjax._compat.optuna import close_storage, storage_of
from risjax.config import Config
from risjax.config.io import differences, from_yaml, to_yaml
from risjax.config.metric import lower_is_better
from risjax.experiments.search import population
from risjax.experiments.search.objective import TrainFunction
from risjax.experiments.search.population import TrainPopulation
from risjax.experiments.search.record import TrialRecord, best_config
from risjax.experiments.search.sampler import make_pruner, make_sampler
from risjax.experiments.search.space import check_space
from risjax.experiments.search.storage import open_storage
from risjax.experiments.search.worker import Worker
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train.loop import train as train_network

_CONFIG = "config"
_NAME_FILE = "search/study.json"
_FREE = (
    "stages",
    "run.directory",
    "run.fresh",
    "run.compile_cache",
    "search.trials",
    "search.storage",
    "search.study",
    "search.max_retries",
    "search.heartbeat_s",
    "search.seeds",
    "search.finalists",
    "search.final_scenes",
    "train.devices",
    "train.accumulation",
    "tune",
    "distributed",
    "evaluate.sources",
    "evaluate.methods",
)
"""Settings in which the workers of one study may differ, since they change no trial's value."""


class SearchError(Exception):
    """A search that cannot continue or has no result; the message contains what to do."""


@dataclass(frozen=True)
class SearchOutcome:
    """The result of a search.

    Attributes:
        config: the complete configuration with the best trial's values in place, to be trained.
        value: the best value of ``search.metric``.
        trials: every slot of the study, in order.
    """

    config: Config
    value: float
    trials: tuple[TrialRecord, ...]


def search(
    config: Config,
    directory: RunDirectory,
    terminal: Terminal,
    *,
    train: TrainFunction = train_network,
    train_population: TrainPopulation = population.train_population,
) -> SearchOutcome:
    """Search ``config.search.space``; resume or join an existing study.

    Finished trials are not repeated. A trial whose worker died runs again with the same values, at most
    ``search.max_retries`` times. A single worker draws the same configurations in the same order however often it is
    killed. Of several workers, each returns when the trials of all are finished.

    Args:
        config: the search's space, metric and number of trials, and the settings that all trials share.
        directory: the run; ``search/`` in it receives the study, ``trials.json``, ``best.yaml`` and
            ``summary.json``, and ``trials/NNNN``, the run directory of each trial.
        terminal: shows progress.
        train: the training of one trial; tests pass a quick one.
        train_population: the training of several trials together.

    Raises:
        ConfigError: the space does not fit the schema.
        StorageError: the storage cannot be opened.
        SearchError: the study belongs to another configuration, or no trial has a value.
        RunDirectoryError: a trial's directory contains a training that the study does not.
        Exception: any exception of a training that does not prune its trial; the trial is marked as failed before.
    """
    for pair in check_space(config):
        terminal.say(f"trials with this pair of values will be pruned: {pair}")
    study = open_study(config, directory)
    worker = Worker(study, config, directory, terminal, train=train, train_population=train_population)
    try:
        records = worker.work()
    finally:
        close_storage(storage_of(study))
    best, winner = next((record for record in records if record.is_best), None), best_config(config, records)
    if best is None or best.value is None or winner is None:
        reasons = "\n".join(f"  trial {record.number}: {record.state}: {record.reason}" for record in records[-5:])
        raise SearchError(
            f"no trial of the search is complete, so no configuration can be trained; the last reasons:\n{reasons}"
        )
    return SearchOutcome(winner, best.value, records)


def open_study(config: Config, directory: RunDirectory) -> optuna.Study:
    """Create or join the study.

    Raises:
        StorageError: the storage cannot be opened.
        SearchError: a study of that name has another configuration; the message names the differing settings.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(config.search.storage, directory.search)
    study = optuna.create_study(
        storage=storage,
        study_name=_study_name(config, directory, storage),
        direction="minimize" if lower_is_better(config.search.metric) else "maximize",
        sampler=make_sampler(config),
        pruner=make_pruner(config.search),
        load_if_exists=True,
    )
    stored = study.user_attrs.get(_CONFIG)
    if stored is None:
        study.set_user_attr(_CONFIG, to_yaml(config))
        return study
    changed = [name for name in differences(from_yaml(stored), config) if not name.startswith(_FREE)]
    if changed:
        raise SearchError(
            f"the study {study.study_name!r} has another configuration: {', '.join(changed)} differ; name another "
            "run.directory, or another search.study in a shared storage"
        )
    return study


def _numbered(name: str) -> Iterator[str]:
    """Yield the name, then ``name-2``, ``name-3`` and so on."""
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))


def _study_name(config: Config, directory: RunDirectory, storage: BaseStorage) -> str:
    """Return ``search.study``, else the name with which the directory's search began, so that it may be moved.

    The name is kept in ``search/study.json``. Where that file is missing, a journal has the name itself; a new search
    takes the directory's. With ``run.fresh`` it takes a name that no study in a shared storage has, since the study of
    the directory's name may be that of the directory moved aside.
    """
    if config.search.study is not None:
        return config.search.study
    kept: dict[str, Any] = directory.read_json(_NAME_FILE, {})
    if kept.get("name"):
        return kept["name"]
    existing, own = [study.study_name for study in storage.get_all_studies()], directory.path.resolve().name
    if config.search.storage is None:
        name = next(iter(existing), own)
    elif config.run.fresh:
        name = next(candidate for candidate in _numbered(own) if candidate not in existing)
    else:
        name = own
    directory.write_json(_NAME_FILE, {"name": name})
    return name
