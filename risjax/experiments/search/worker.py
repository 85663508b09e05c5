"""One process of a search: claims slots, runs their trials, records the results."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from risjax._compat.optuna import set_trial_attribute
from risjax.config import Config
from risjax.config.errors import ConfigError
from risjax.config.secrets import mask
from risjax.experiments.search.directories import drop_checkpoints, new_trial_directory
from risjax.experiments.search.finalists import measure_finalists
from risjax.experiments.search.heartbeat import HeartbeatMonitor, heartbeat
from risjax.experiments.search.objective import (
    TrainFunction,
    TrialMonitor,
    TrialOutcome,
    pruned,
    refusal_text,
    run_trial,
)
from risjax.experiments.search.population import TrainPopulation, groups
from risjax.experiments.search.record import TrialRecord, choose_finalists, read_records, write_records
from risjax.experiments.search.sampler import suggest
from risjax.experiments.search.search_summary import write_summary
from risjax.experiments.search.separation import SEPARATED, measure_separation
from risjax.experiments.search.slots import DIED, END, ERROR, INTERRUPTED, RETRY_OF, WITHDRAWN, Slot, read_slots
from risjax.experiments.search.space import trial_config
from risjax.experiments.search.storage import exclusive
from risjax.experiments.search.time_left import progress_fields
from risjax.runs.formatting import value_text
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal

REASON = "reason"
"""Attribute with the reason of a trial that ended without a value."""
_REASON_CHARACTERS = 4000
"""Longest reason that is stored. MySQL's columns take 65,535 bytes, and Optuna writes up to twelve for a character."""
_POLL_S = 1.0


class Member(NamedTuple):
    """A trial that this worker owns."""

    trial: optuna.Trial
    slot: Slot
    values: dict[str, Any]


class Worker:
    """One process of a search; `work` runs it to its end."""

    def __init__(
        self,
        study: optuna.Study,
        config: Config,
        directory: RunDirectory,
        terminal: Terminal,
        *,
        train: TrainFunction,
        train_population: TrainPopulation,
    ):
        self.study = study
        self.config, self.directory, self.terminal = config, directory, terminal
        self.train, self.train_population = train, train_population
        self.heartbeats = HeartbeatMonitor(config.search.heartbeat_s)
        self.best: int | None = None

    def work(self) -> tuple[TrialRecord, ...]:
        """Run trials until every slot is finished or given up; return the records of all slots."""
        search = self.config.search
        finished = sum(slot.finished is not None for slot in self.slots())
        with self.terminal.progress("search", total=search.trials, completed=finished) as self.bar:
            self.bar.advance(0, **progress_fields(self.record(), search.trials))
            while self.work_once():
                self.bar.advance(0, **progress_fields(self.record(), search.trials))
        records = self.record()
        finalists = choose_finalists(self.config, records)
        if finalists:
            measure_finalists(self.study, self.config, records, finalists, self.directory, self.terminal)
            records = self.record()
        write_summary(self.directory, self.study, self.config, records, self.separation(records))
        return records

    def separation(self, records: tuple[TrialRecord, ...]) -> dict[str, Any] | None:
        """Return `measure_separation` of the finished trials, and print whether they differ by more than seeds do."""
        best = next((record for record in records if record.is_best), None)
        if best is None:
            return None
        values = [record.value for record in records if record.value is not None]
        found = measure_separation(self.study, self.config, best.params, values, self.directory, train=self.train)
        if found is not None and found["ratio"] is not None:
            separate = "separate" if found["ratio"] >= SEPARATED else "do NOT separate: the best trial may be luck"
            self.terminal.say(
                f"trials {separate} (their spread is {found['ratio']:.1f} times that of seeds)", always=True
            )
        return found

    def work_once(self) -> bool:
        """Run the next trial, or the next ``search.population`` of them together; return False if none is left."""
        search, team = self.config.search, list[Member]()
        with ExitStack() as heartbeats:
            while len(team) < search.population and (trial := self.next_trial(wait=not team)) is not None:
                heartbeats.enter_context(heartbeat(trial, search.heartbeat_s))
                slot = self.claim(trial)
                if slot is not None:
                    team.append(Member(trial, slot, suggest(trial, search.space)))
            if team:
                self.record()
                self.attempt(team)
        return bool(team)

    def slots(self) -> list[Slot]:
        """Return the study's slots, after marking the trials of dead workers as failed."""
        while True:
            trials = self.study.get_trials(deepcopy=False)
            running = [trial for trial in trials if trial.state == TrialState.RUNNING]
            dead = [trial for trial in running if self.heartbeats.is_dead(trial)]
            for trial in dead:
                self.fail(trial, DIED, "its worker died")
            if not dead and all(self.heartbeats.is_signed(trial) for trial in running):
                return read_slots(trials)[: self.config.search.trials]
            if not dead:  # a worker is between creating and signing its trial, or died there
                time.sleep(_POLL_S / 10)

    def next_trial(self, *, wait: bool) -> optuna.Trial | None:
        """Return the next trial: first a dead worker's, then a new one; None if none is left.

        With ``wait``, wait until the trials of other workers have ended, since these workers may die.
        """
        search = self.config.search
        while True:
            slots = self.slots()
            abandoned = next((slot for slot in slots if slot.needs_attempt(search.max_retries)), None)
            active = [slot.active for slot in slots if slot.finished is None and slot.active is not None]
            if any(trial.state == TrialState.WAITING for trial in active):
                return self.study.ask()
            if abandoned is not None:
                self.repeat(abandoned)
                continue
            if len(slots) < search.trials:
                return self.study.ask()
            if not active or not wait:
                return None
            self.bar.advance(0, waiting=f"for {len(active)} trials of other workers")
            time.sleep(_POLL_S)

    def repeat(self, slot: Slot) -> None:
        """Queue another attempt at a slot, with the same values if all of them were drawn."""
        params = next((t.params for t in reversed(slot.attempts) if len(t.params) == len(self.config.search.space)), {})
        self.study.enqueue_trial(params, user_attrs={RETRY_OF: slot.number})

    def claim(self, trial: optuna.Trial) -> Slot | None:
        """Return the slot that a signed trial owns; withdraw the trial if another one owns it or the study is full."""
        slots = read_slots(self.study.get_trials(deepcopy=False))
        slot = next(slot for slot in slots if any(attempt.number == trial.number for attempt in slot.attempts))
        is_first = slot.active is not None and slot.active.number == trial.number
        if is_first and slot.finished is None and slot.number < self.config.search.trials:
            return slot
        self.fail(trial, WITHDRAWN, "another worker runs this configuration, or the study is full")
        return None

    def attempt(self, team: list[Member]) -> None:
        """Run trials to their outcomes, together if they share a program."""
        try:
            configs = {}
            for index, member in enumerate(team):
                try:
                    configs[index] = trial_config(self.config, member.values)
                except ConfigError as error:
                    self.finish(member, pruned(refusal_text(error)))
            for group in groups(list(configs.values())):
                indices = [list(configs)[position] for position in group]
                members = [team[index] for index in indices]
                outcomes = self.train_group([configs[index] for index in indices], members)
                for member, outcome in zip(members, outcomes, strict=True):
                    self.finish(member, outcome)
        except UpdateFinishedTrialError:
            self.terminal.warn("another worker took over a trial: this process sent no heartbeat for too long")
            self.fail_all(team, INTERRUPTED, "another trial of its population was taken over")
        except KeyboardInterrupt:
            self.fail_all(team, INTERRUPTED, "interrupted")
            self.record()
            raise
        except Exception as error:
            self.fail_all(team, ERROR, f"{type(error).__name__}: {error}")
            self.record()
            raise

    def train_group(self, configs: list[Config], members: list[Member]) -> list[TrialOutcome]:
        """Train configurations of one program; return their outcomes."""
        search = self.config.search
        monitors, directories = [], []
        for member in members:
            number = member.slot.number

            def on_report(epoch: int, value: float, number: int = number) -> None:
                shown = {"trial": f"{number + 1}/{search.trials}", "epoch": f"{epoch}/{search.epochs}"}
                self.bar.advance(0, **shown, now=value)

            is_configured = number == 0 and search.first_trial == "configured"
            monitors.append(TrialMonitor(search, member.trial, on_report, may_prune=not is_configured))
            directories.append(new_trial_directory(self.directory, number, len(member.slot.attempts) - 1))
        if len(members) > 1:
            try:
                return self.train_population(configs, monitors, directories)
            except ConfigError as error:
                return [pruned(refusal_text(error))] * len(members)
        return [run_trial(configs[0], monitors[0], directories[0], train=self.train)]

    def finish(self, member: Member, outcome: TrialOutcome) -> None:
        """Store a trial's outcome in the study."""
        search = self.config.search
        if outcome.reason is not None:
            member.trial.set_user_attr(REASON, _stored_reason(outcome.reason))
        self.study.tell(member.trial, outcome.value, state=outcome.state, skip_if_finished=True)
        self.bar.advance(1)
        ended = f"{search.metric} {outcome.value:.4g}" if outcome.value is not None else f"pruned: {outcome.reason}"
        self.terminal.say(f"trial {member.slot.number + 1}/{search.trials}  {ended}  {_short(member.values)}")

    def fail_all(self, team: list[Member], end: str, reason: str) -> None:
        """Mark those trials of a team as failed that have no outcome yet."""
        for member in team:
            self.fail(member.trial, end, reason)

    def fail(self, trial: optuna.Trial | FrozenTrial, end: str, reason: str) -> None:
        """Mark an attempt as failed; do nothing if another worker ended it before."""
        try:
            for key, value in ((END, end), (REASON, _stored_reason(reason))):
                set_trial_attribute(self.study, trial, key, value)
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        except UpdateFinishedTrialError:
            pass

    def record(self) -> tuple[TrialRecord, ...]:
        """Write the records of the study, and delete the checkpoints of all trials but the best and the finalists.

        One worker at a time, so that an older state of the study does not overwrite a newer one.
        """
        with exclusive(self.directory.search / "records.lock"):
            records = read_records(self.study, self.config)
            self.best = write_records(self.directory, self.config, records, written=self.best)
            write_summary(self.directory, self.study, self.config, records)
            kept = {self.best, *choose_finalists(self.config, records)} - {None}
            drop_checkpoints(self.directory, read_slots(self.study.get_trials(deepcopy=False)), kept)
        return records


def _stored_reason(reason: str) -> str:
    """Return a reason as it is stored: passwords masked first, since a cut URL is not recognised, then cut."""
    reason = mask(reason)
    return reason if len(reason) <= _REASON_CHARACTERS else reason[: _REASON_CHARACTERS - 2] + " …"


def _short(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{path.rpartition('.')[2]} {value_text(value)}" for path, value in values.items())
