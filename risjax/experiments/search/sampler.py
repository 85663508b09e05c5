"""The sampler, TPE seeded by the slot's number, and the pruners.

Every slot has its own sampler, seeded by (run.seed, slot). Its draws depend on the results of earlier slots only, not
on the process that draws or on the draws that it made before.

Reference: S. Watanabe, "Tree-Structured Parzen Estimator: Understanding Its Algorithm Components and Their Roles for
Better Empirical Performance", arXiv:2304.11127.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from risjax._compat.optuna import BracketPruner
from risjax.config import Config, Distribution, SearchConfig
from risjax.experiments.search.slots import slot_of
from risjax.experiments.search.space import configured_values, is_same


class SlotSampler(BaseSampler):
    """TPE (multivariate, constant liar) with a new generator for every slot.

    Args:
        seed: of the study.
        startup_trials: slots that are drawn at random.
        first: parameters of slot 0 as Optuna stores them, by name; empty to draw it as well.
    """

    def __init__(self, *, seed: int, startup_trials: int, first: Mapping[str, Any] = MappingProxyType({})):
        self._seed = seed
        self._startup_trials = startup_trials
        self._first = first
        self._current: tuple[int, TPESampler] | None = None

    def _sampler(self, study: optuna.Study, trial: FrozenTrial) -> TPESampler:
        if self._current is None or self._current[0] != trial.number:
            seed = np.random.SeedSequence([self._seed, slot_of(study, trial)]).generate_state(1)[0]
            self._current = trial.number, TPESampler(n_startup_trials=self._startup_trials, seed=int(seed))
        return self._current[1]

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self._first and slot_of(study, trial) == 0:
            return {}
        return self._sampler(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if self._first and slot_of(study, trial) == 0:
            return self._first[param_name]
        return self._sampler(study, trial).sample_independent(study, trial, param_name, param_distribution)


class SlotHyperband(BracketPruner):
    """Hyperband whose brackets depend on the slot, and whose rungs ignore attempts that died.

    Optuna draws the bracket from the trial's number, which a retry changes, and lets the unfinished rungs of a dead
    attempt compete with its own retry.
    """

    def seed_of(self, study: optuna.Study, trial: FrozenTrial) -> int | None:
        return None if trial.state == TrialState.FAIL else slot_of(study, trial)


def make_pruner(search: SearchConfig) -> BasePruner:
    """Return the pruner of ``search.pruner``. Epochs are counted from 1."""
    match search.pruner:
        case "median":
            return MedianPruner(n_startup_trials=search.startup_trials, n_warmup_steps=search.warmup_epochs)
        case "hyperband":
            return SlotHyperband(min_resource=max(1, search.warmup_epochs), max_resource=search.epochs)
        case "none":
            return NopPruner()


def make_sampler(config: Config) -> SlotSampler:
    """Return the sampler of a study, seeded by the run."""
    search = config.search
    first = {path: _stored(search.space[path], value) for path, value in configured_values(config).items()}
    return SlotSampler(seed=config.run.seed, startup_trials=search.startup_trials, first=first)


def suggest(trial: optuna.Trial, space: Mapping[str, Distribution]) -> dict[str, Any]:
    """Draw every searched setting, in the space's order; return {dotted path: value}."""
    return {path: _suggest(trial, path, distribution) for path, distribution in space.items()}


def values_of(params: Mapping[str, Any], space: Mapping[str, Distribution]) -> dict[str, Any]:
    """Return an Optuna trial's parameters as {dotted path: value}, with labels replaced by their values."""
    return {path: _labels(space[path]).get(value, value) for path, value in params.items() if path in space}


def _suggest(trial: optuna.Trial, path: str, distribution: Distribution) -> Any:
    if distribution.log_uniform is not None:
        return trial.suggest_float(path, *distribution.log_uniform, log=True)
    if distribution.uniform is not None:
        return trial.suggest_float(path, *distribution.uniform)
    if distribution.integer is not None:
        return trial.suggest_int(path, *distribution.integer)
    labels = _labels(distribution)
    if labels:
        return labels[trial.suggest_categorical(path, list(labels))]
    return trial.suggest_categorical(path, list(distribution.choice or ()))


def _stored(distribution: Distribution, value: Any) -> Any:
    """Return a value as Optuna stores it."""
    return next((label for label, other in _labels(distribution).items() if is_same(other, value)), value)


def _labels(distribution: Distribution) -> dict[Any, Any]:
    """Return {label: value} of a choice among lists, which Optuna stores as JSON; empty for plain values."""
    choice = distribution.choice or ()
    if all(value is None or isinstance(value, bool | int | float | str) for value in choice):
        return {}
    return {json.dumps(value): value for value in choice}
