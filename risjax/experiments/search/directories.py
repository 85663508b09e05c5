"""The directories of the trials: ``search/trials/0007``, and ``0007.1`` where slot 7 was tried again."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import TrialState

from risjax.experiments.search.slots import Slot
from risjax.runs.run_directory import RunDirectory


def trial_path(directory: RunDirectory, slot: int, attempt: int) -> Path:
    """Where an attempt at a slot trains. Every attempt has its own: a worker that was wrongly taken for dead
    may still be writing in the last one."""
    return directory.search / "trials" / (f"{slot:04d}" if attempt == 0 else f"{slot:04d}.{attempt}")


def drop_checkpoints(directory: RunDirectory, slots: Sequence[Slot], best: int | None) -> None:
    """Removes the checkpoints of all attempts that have ended, but for the best trial's; logs and configs stay."""
    for slot in slots:
        for attempt, trial in enumerate(slot.attempts):
            keep = slot.number == best and trial.state == TrialState.COMPLETE
            path = trial_path(directory, slot.number, attempt)
            if trial.state.is_finished() and not keep and path.is_dir():
                shutil.rmtree(path / "checkpoints", ignore_errors=True)
                for name in ("search", "figures"):
                    shutil.rmtree(path / name, ignore_errors=True)
