"""The study's bookkeeping: slots, their attempts, and which slot is next.

A study of 50 trials has 50 slots, numbered from 0; each is one configuration and is finished exactly once.
Optuna's trials are *attempts* at a slot: normally one, more where a worker died. An attempt that is not
marked as a retry opens the next slot, so that every process reads the same numbers off the same trials and
the n-th configuration does not depend on how often its predecessors were killed.

Two workers that retry one slot at once are told apart without a lock: trials are numbered in one order that
all workers see, and the lowest living attempt of a slot owns it; the other withdraws.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, TrialState

RETRY_OF = "retry_of_slot"
"""Attribute of an attempt that repeats a slot."""
END = "end"
"""Attribute of a failed attempt: how it ended."""
DIED, WITHDRAWN, INTERRUPTED, ERROR = "died", "withdrawn", "interrupted", "error"


@dataclass
class Slot:
    """One configuration of the study and the attempts at it, in Optuna's order."""

    number: int
    attempts: list[FrozenTrial] = field(default_factory=list)

    @property
    def finished(self) -> FrozenTrial | None:
        """The attempt that ended with a result: complete, or pruned with a reason."""
        done = (TrialState.COMPLETE, TrialState.PRUNED)
        return next((trial for trial in self.attempts if trial.state in done), None)

    @property
    def living(self) -> FrozenTrial | None:
        """The attempt that owns the slot now: the lowest one that waits or runs."""
        states = (TrialState.WAITING, TrialState.RUNNING)
        return next((trial for trial in self.attempts if trial.state in states), None)

    @property
    def deaths(self) -> int:
        """How many attempts died with their process."""
        return sum(trial.user_attrs.get(END) == DIED for trial in self.attempts)

    def is_given_up(self, max_retries: int) -> bool:
        """Whether the slot has died too often to be tried again."""
        return self.finished is None and self.deaths > max_retries

    def needs_attempt(self, max_retries: int) -> bool:
        """Whether somebody should try this slot again."""
        return self.finished is None and self.living is None and self.deaths <= max_retries


def read_slots(trials: Sequence[FrozenTrial]) -> list[Slot]:
    """The slots of a study, in order."""
    slots: list[Slot] = []
    for trial in trials:
        number = trial.user_attrs.get(RETRY_OF)
        if number is None:
            slots.append(Slot(len(slots), [trial]))
        else:
            slots[number].attempts.append(trial)
    return slots


def slot_of(study: optuna.Study, trial: FrozenTrial) -> int:
    """The number of the slot that a trial is an attempt at."""
    number = trial.user_attrs.get(RETRY_OF)
    if number is not None:
        return number
    trials = study._storage.get_all_trials(study._study_id, deepcopy=False)  # works inside a pruner's view, too
    return sum(RETRY_OF not in other.user_attrs for other in trials if other.number < trial.number)
