"""The search: opens or joins the study, tries configurations until every slot is finished, names the best."""

from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import BaseStorage

from risjax.config import Config
from risjax.config.io import differences, from_yaml, to_yaml
from risjax.config.metric import lower_is_better
from risjax.experiments.search import population
from risjax.experiments.search.objective import Train
from risjax.experiments.search.population import TrainPopulation
from risjax.experiments.search.record import TrialRecord, best_config
from risjax.experiments.search.sampler import make_pruner, make_sampler
from risjax.experiments.search.space import check_space
from risjax.experiments.search.storage import close_storage, open_storage
from risjax.experiments.search.worker import Worker
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train.loop import train as train_for_real

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
    "train.devices",
    "train.accumulation",
    "distributed",
    "evaluate.sources",
    "evaluate.methods",
)
"""Settings in which the workers of one study may differ: they change no trial's value."""


class SearchError(Exception):
    """A search that cannot go on or has nothing to show; the message says what to do."""


@dataclass(frozen=True)
class SearchOutcome:
    """What a search found.

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
    train: Train = train_for_real,
    train_population: TrainPopulation = population.train_population,
) -> SearchOutcome:
    """Searches ``config.search.space``; goes on with, or joins, a study that is already there.

    Finished trials are never run again. A trial whose worker died is run again with the same values, at most
    ``search.max_retries`` times. Alone, a worker draws the same configurations in the same order however often
    it is killed. With others, it returns when all trials are finished, its own and theirs.

    Args:
        config: what to search, over what, for how long.
        directory: the run; ``search/`` in it receives the study, ``trials.json``, ``best.yaml`` and
            ``summary.json``, and ``trials/NNNN``, the run directory of each trial.
        terminal: where progress is shown.
        train: the training; tests put a quick one here.
        train_population: the training of several trials together.

    Raises:
        ConfigError: the space does not fit the schema.
        StorageError: the storage cannot be opened.
        SearchError: the study belongs to another configuration, or no trial has a value.
        Exception: whatever a training raises beyond `NonFiniteTraining`; the trial is marked as failed before.
    """
    for pair in check_space(config):
        terminal.say(f"trials that draw this pair will be pruned: {pair}")
    study = open_study(config, directory)
    worker = Worker(study, config, directory, terminal, train=train, train_population=train_population)
    try:
        records = worker.work()
    finally:
        close_storage(study._storage)
    best, winner = next((record for record in records if record.is_best), None), best_config(config, records)
    if best is None or best.value is None or winner is None:
        reasons = "\n".join(f"  trial {record.number}: {record.state}: {record.reason}" for record in records[-5:])
        raise SearchError(f"no trial of the search is complete, so there is nothing to train:\n{reasons}")
    return SearchOutcome(winner, best.value, records)


def open_study(config: Config, directory: RunDirectory) -> optuna.Study:
    """Creates or joins the study.

    Raises:
        StorageError: the storage cannot be opened.
        SearchError: a study of that name searches something else; the differing settings are named.
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
    theirs = study.user_attrs.get(_CONFIG)
    if theirs is None:
        study.set_user_attr(_CONFIG, to_yaml(config))
        return study
    changed = [name for name in differences(from_yaml(theirs), config) if not name.startswith(_FREE)]
    if changed:
        raise SearchError(
            f"the study {study.study_name!r} searches another configuration ({', '.join(changed)} differ); "
            "give this search its own run.directory, or its own search.study in a shared storage"
        )
    return study


def _study_name(config: Config, directory: RunDirectory, storage: BaseStorage) -> str:
    """Return ``search.study``, else the name with which the directory's search began, so that it may be moved.

    The name is kept in ``search/study.json``. Where that file is missing, a journal has the name itself; a new search
    takes the directory's.
    """
    if config.search.study is not None:
        return config.search.study
    kept: dict[str, Any] = directory.read_json(_NAME_FILE, {})
    if kept.get("name"):
        return kept["name"]
    in_journal = [study.study_name for study in storage.get_all_studies()] if config.search.storage is None else []
    name = next(iter(in_journal), directory.path.resolve().name)
    directory.write_json(_NAME_FILE, {"name": name})
    return name
