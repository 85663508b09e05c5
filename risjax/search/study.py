"""The search: opens or joins the study, tries configurations until every slot is finished, names the best."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from risjax.config import Config
from risjax.config.io import differences, from_yaml, to_yaml
from risjax.config.metric import lower_is_better
from risjax.config.secrets import mask
from risjax.run_directory import RunDirectory
from risjax.search.directories import drop_checkpoints, trial_path
from risjax.search.objective import Train, run_trial
from risjax.search.record import TrialRecord, best_config, read_records, write_records, write_summary
from risjax.search.sampler import make_pruner, make_sampler, suggest
from risjax.search.separation import SEPARATED, measure_separation
from risjax.search.slots import DIED, END, ERROR, INTERRUPTED, RETRY_OF, WITHDRAWN, Slot, read_slots
from risjax.search.space import check_space
from risjax.search.storage import close_storage, exclusive, open_storage
from risjax.search.workers import Watch, alive
from risjax.terminal import Terminal, value_text
from risjax.train.loop import train as train_for_real

REASON = "reason"
_CONFIG = "config"
_FREE = (
    "stages",
    "run.directory",
    "run.fresh",
    "search.trials",
    "search.storage",
    "search.study",
    "search.max_retries",
    "search.heartbeat_s",
    "search.seeds",
    "evaluate.sources",
    "evaluate.methods",
)
"""Settings in which the workers of one study may differ: they change no trial's value."""
_POLL_S = 1.0


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
    config: Config, directory: RunDirectory, terminal: Terminal, *, train: Train = train_for_real
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

    Raises:
        ConfigError: the space does not fit the schema.
        StorageError: the storage cannot be opened.
        SearchError: the study belongs to another configuration, or no trial has a value.
        Exception: whatever a training raises beyond `NonFiniteTraining`; the trial is marked as failed before.
    """
    for pair in check_space(config):
        terminal.say(f"trials that draw this pair will be pruned: {pair}")
    worker = _Worker(config, directory, terminal, train)
    try:
        records = worker.work()
    finally:
        close_storage(worker.study._storage)
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
    study = optuna.create_study(
        storage=open_storage(config.search.storage, directory.search),
        study_name=config.search.study or directory.path.resolve().name,
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


class _Worker:
    """One process's part in a study."""

    def __init__(self, config: Config, directory: RunDirectory, terminal: Terminal, train: Train):
        self.config, self.directory, self.terminal, self.train = config, directory, terminal, train
        self.study = open_study(config, directory)
        self.watch = Watch(config.search.heartbeat_s)

    def work(self) -> tuple[TrialRecord, ...]:
        """Tries configurations until every slot is finished or given up; returns the slots."""
        search = self.config.search
        finished = sum(slot.finished is not None for slot in self.slots())
        self.record()
        with self.terminal.progress("search", total=search.trials, completed=finished) as self.bar:
            while (trial := self.next_trial()) is not None:
                with alive(trial, search.heartbeat_s):
                    slot = self.claim(trial)
                    if slot is not None:
                        self.attempt(trial, slot)
                self.record()
        records = self.record()
        write_summary(self.directory, self.study, self.config, records, self.separation(records))
        return records

    def separation(self, records: tuple[TrialRecord, ...]) -> dict[str, Any] | None:
        """Whether the trials differ by more than luck; says so where they do not."""
        best = next((record for record in records if record.is_best), None)
        if best is None:
            return None
        values = [record.value for record in records if record.value is not None]
        found = measure_separation(self.study, self.config, best.params, values, self.directory, train=self.train)
        if found is not None and found["ratio"] is not None:
            verdict = "separate" if found["ratio"] >= SEPARATED else "do NOT separate: the best trial may be luck"
            self.terminal.say(
                f"trials {verdict} (their spread is {found['ratio']:.1f} times that of seeds)", always=True
            )
        return found

    def slots(self) -> list[Slot]:
        """The study's slots, after failing the trials of dead workers."""
        while True:
            trials = self.study.get_trials(deepcopy=False)
            running = [trial for trial in trials if trial.state == TrialState.RUNNING]
            dead = [trial for trial in running if self.watch.is_dead(trial)]
            for trial in dead:
                self.fail(trial, DIED, "its worker died")
            if not dead and all(self.watch.is_signed(trial) for trial in running):
                return read_slots(trials)[: self.config.search.trials]
            if not dead:  # a worker is between creating and signing its trial, or died there
                time.sleep(_POLL_S / 10)

    def next_trial(self) -> optuna.Trial | None:
        """A trial to work on: a dead worker's first, then a new one; waits for other workers; None at the end."""
        search = self.config.search
        while True:
            slots = self.slots()
            abandoned = next((slot for slot in slots if slot.needs_attempt(search.max_retries)), None)
            living = [slot.living for slot in slots if slot.finished is None and slot.living is not None]
            if any(trial.state == TrialState.WAITING for trial in living):
                return self.study.ask()
            if abandoned is not None:
                self.repeat(abandoned)
                continue
            if len(slots) < search.trials:
                return self.study.ask()
            if not living:
                return None
            self.bar.advance(0, waiting=f"for {len(living)} of other workers")
            time.sleep(_POLL_S)

    def repeat(self, slot: Slot) -> None:
        """Queues another attempt at a slot, with the same values where all of them were drawn."""
        params = next((t.params for t in reversed(slot.attempts) if len(t.params) == len(self.config.search.space)), {})
        self.study.enqueue_trial(params, user_attrs={RETRY_OF: slot.number})

    def claim(self, trial: optuna.Trial) -> Slot | None:
        """The slot that a signed trial owns; withdraws the trial where another has it, or there is none left."""
        slots = read_slots(self.study.get_trials(deepcopy=False))
        slot = next(slot for slot in slots if any(attempt.number == trial.number for attempt in slot.attempts))
        is_first = slot.living is not None and slot.living.number == trial.number
        if is_first and slot.finished is None and slot.number < self.config.search.trials:
            return slot
        self.fail(trial, WITHDRAWN, "another worker has this configuration, or the study was full")
        return None

    def attempt(self, trial: optuna.Trial, slot: Slot) -> None:
        """Runs a trial to its verdict."""
        search = self.config.search

        def on_report(epoch: int, value: float) -> None:
            self.bar.advance(0, trial=f"{slot.number + 1}/{search.trials}", epoch=f"{epoch}/{search.epochs}", now=value)

        path = trial_path(self.directory, slot.number, len(slot.attempts) - 1)
        try:
            values = suggest(trial, search.space)
            quiet = Terminal(quiet=True)
            verdict = run_trial(
                self.config, values, trial, RunDirectory(path), quiet, train=self.train, on_report=on_report
            )
            if verdict.reason is not None:
                trial.set_user_attr(REASON, mask(verdict.reason))
        except UpdateFinishedTrialError:
            self.terminal.warn(f"trial {slot.number} was taken over: this process was silent for too long")
            return
        except KeyboardInterrupt:
            self.fail(trial, INTERRUPTED, "interrupted")
            raise
        except Exception as error:
            self.fail(trial, ERROR, f"{type(error).__name__}: {error}")
            self.record()
            raise
        self.study.tell(trial, verdict.value, state=verdict.state, skip_if_finished=True)
        self.bar.advance(1)
        told = f"{search.metric} {verdict.value:.4g}" if verdict.value is not None else f"pruned: {verdict.reason}"
        self.terminal.say(f"trial {slot.number + 1}/{search.trials}  {told}  {_short(values)}")

    def fail(self, trial: optuna.Trial | FrozenTrial, end: str, reason: str) -> None:
        """Ends an attempt without a result; does nothing where somebody else ended it before."""
        try:
            for key, value in ((END, end), (REASON, mask(reason))):
                self.study._storage.set_trial_user_attr(trial._trial_id, key, value)
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        except UpdateFinishedTrialError:
            pass

    def record(self) -> tuple[TrialRecord, ...]:
        """Writes what can be read of the study, and drops the checkpoints of all trials but the best.

        One worker at a time, so that an older state of the study is never written over a newer one.
        """
        with exclusive(self.directory.search / "records.lock"):
            records = read_records(self.study, self.config)
            write_records(self.directory, self.config, records)
            best = next((record.number for record in records if record.is_best), None)
            drop_checkpoints(self.directory, read_slots(self.study.get_trials(deepcopy=False)), best)
        return records


def _short(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{path.rpartition('.')[2]} {value_text(value)}" for path, value in values.items())
