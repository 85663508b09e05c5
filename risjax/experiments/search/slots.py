"""Slots of a study and the attempts at them.

A study of 50 trials has 50 slots, numbered from 0; each is one configuration and is finished exactly once. Optuna's
trials are *attempts* at a slot: normally one, more if a worker died. An attempt that is not marked as a retry opens the
next slot. All processes thus derive the same slot numbers from the same trials, and the n-th configuration does not
depend on how often earlier ones were killed.

Two workers that retry one slot at the same time need no lock: all workers see the trials in the same order, and the
first active attempt of a slot owns it; the other withdraws.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, TrialState

from risjax._compat.optuna import all_trials

RETRY_OF = "retry_of_slot"
"""Attribute of a retry: the number of its slot."""
END = "end"
"""Attribute of a failed attempt: one of the four values below."""
DIED, WITHDRAWN, INTERRUPTED, ERROR = "died", "withdrawn", "interrupted", "error"


@dataclass
class Slot:
    """One configuration of the study and the attempts at it, in Optuna's order."""

    number: int
    attempts: list[FrozenTrial] = field(default_factory=list)

    @property
    def finished(self) -> FrozenTrial | None:
        """The complete or pruned attempt, if there is one."""
        done = (TrialState.COMPLETE, TrialState.PRUNED)
        return next((trial for trial in self.attempts if trial.state in done), None)

    @property
    def active(self) -> FrozenTrial | None:
        """The attempt that owns the slot: the first one that waits or runs."""
        states = (TrialState.WAITING, TrialState.RUNNING)
        return next((trial for trial in self.attempts if trial.state in states), None)

    @property
    def deaths(self) -> int:
        """Number of attempts whose process died."""
        return sum(trial.user_attrs.get(END) == DIED for trial in self.attempts)

    def is_given_up(self, max_retries: int) -> bool:
        """Return whether too many attempts died for another one."""
        return self.finished is None and self.deaths > max_retries

    def needs_attempt(self, max_retries: int) -> bool:
        """Return whether a worker should try this slot again."""
        return self.finished is None and self.active is None and self.deaths <= max_retries


def read_slots(trials: Sequence[FrozenTrial]) -> list[Slot]:
    """Return the slots of a study, in order."""
    slots: list[Slot] = []
    for trial in trials:
        number = trial.user_attrs.get(RETRY_OF)
        if number is None:
            slots.append(Slot(len(slots), [trial]))
        else:
            slots[number].attempts.append(trial)
    return slots


def slot_of(study: optuna.Study, trial: FrozenTrial) -> int:
    """Return the number of the slot that a trial is an attempt at."""
    number = trial.user_attrs.get(RETRY_OF)
    if number is not None:
        return number
    return sum(RETRY_OF not in other.user_attrs for other in all_trials(study) if other.number < trial.number)
