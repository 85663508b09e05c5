"""The directories of the trials: ``search/trials/0007``, and ``0007.1`` for the second attempt at slot 7."""

from collections.abc import Collection, Sequence
from pathlib import Path

from optuna.trial import TrialState

from risjax.experiments.search.slots import Slot
from risjax.runs.run_directory import RunDirectory, RunDirectoryError
from risjax.train.checkpoint import Checkpoints


def trial_path(directory: RunDirectory, slot: int, attempt: int) -> Path:
    """Return the directory of an attempt at a slot. Every attempt has its own, since a worker that was wrongly
    considered dead may still write to the previous one."""
    return directory.search / "trials" / (f"{slot:04d}" if attempt == 0 else f"{slot:04d}.{attempt}")


def new_trial_directory(directory: RunDirectory, slot: int, attempt: int) -> RunDirectory:
    """Create the directory of an attempt.

    Raises:
        RunDirectoryError: a training was already started there, which the study does not contain: the study was
            deleted or replaced.
    """
    path = trial_path(directory, slot, attempt)
    if (path / "log.jsonl").exists():
        raise RunDirectoryError(
            f"{path} holds a trial that the study does not contain: {directory.search / 'study.journal'} or "
            "search.storage was deleted or replaced; restore it, or start a new search with run.fresh=true, which "
            f"moves {directory.path} aside"
        )
    return RunDirectory(path)


def finished_path(directory: RunDirectory, slot: Slot) -> Path:
    """Return the directory of the attempt that finished a slot."""
    assert slot.finished is not None
    numbers = [trial.number for trial in slot.attempts]
    return trial_path(directory, slot.number, numbers.index(slot.finished.number))


def drop_checkpoints(directory: RunDirectory, slots: Sequence[Slot], kept: Collection[int]) -> None:
    """Delete the checkpoints of all finished attempts but those of the complete slots in ``kept``; logs, configurations
    and files that this program did not write stay."""
    for slot in slots:
        for attempt, trial in enumerate(slot.attempts):
            keep = slot.number in kept and trial.state == TrialState.COMPLETE
            path = trial_path(directory, slot.number, attempt)
            if trial.state.is_finished() and not keep and path.is_dir():
                Checkpoints(path / "checkpoints").delete()
                for name in ("checkpoints", "search", "figures"):
                    _remove_empty(path / name)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
