"""Optuna: a study's storage, attributes of trials of other processes, and Hyperband's brackets (Optuna 5.0).

A `optuna.Study` has no public access to its storage, and a trial none to its identity there. Attributes can be set by
the trial's own process alone, but the trial of a killed worker is ended by another one.
"""

from abc import abstractmethod
from typing import Any

import numpy as np
import optuna
from optuna.pruners import HyperbandPruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

_NO_BRACKET = -1


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage of a study."""
    return study._storage


def trial_id(trial: optuna.Trial | FrozenTrial) -> int:
    """Return the identity of a trial in its storage; its number counts within the study."""
    return trial._trial_id


def all_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials of a study without copying them; all of them in a pruner's view of the study as well."""
    return study._storage.get_all_trials(study._study_id, deepcopy=False)


def set_trial_attribute(study: optuna.Study, trial: optuna.Trial | FrozenTrial, key: str, value: Any) -> None:
    """Set a user attribute of a trial, whichever process runs it.

    Raises:
        optuna.exceptions.UpdateFinishedTrialError: the trial has ended.
    """
    study._storage.set_trial_user_attr(trial._trial_id, key, value)


def close_storage(storage: BaseStorage) -> None:
    """Close this process's connections to a database; a storage that is used again opens new ones."""
    storage.remove_session()
    engine = getattr(getattr(storage, "_backend", storage), "engine", None)
    if engine is not None:
        engine.dispose()


class BracketPruner(HyperbandPruner):
    """Hyperband with a bracket of one's own choice for each trial; Optuna draws it from the trial's number."""

    @abstractmethod
    def seed_of(self, study: optuna.Study, trial: FrozenTrial) -> int | None:
        """Return the seed from which the bracket is drawn, or None for a trial that competes in no bracket."""

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        seed = self.seed_of(study, trial)
        if seed is None:
            return _NO_BRACKET
        if not self._pruners:
            return 0
        share = np.array(self._trial_allocation_budgets) / self._total_trial_allocation_budget
        return int(np.random.default_rng(seed).choice(len(share), p=share))
