"""Files with the results of a study: ``trials.json`` and ``best.yaml``.

They and ``summary.json`` (`risjax.experiments.search.search_summary`) are derived from the study alone and written
atomically after every trial, so that a crash between a trial's end and its record loses nothing: the next start writes
them again.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from risjax.config import Config, DistributedConfig
from risjax.config.io import apply_overrides, to_yaml
from risjax.config.metric import lower_is_better
from risjax.experiments.search.sampler import values_of
from risjax.experiments.search.slots import END, WITHDRAWN, Slot, read_slots
from risjax.runs.run_directory import RunDirectory, write_atomically

FINALISTS = "finalists"
"""Attribute of a study with the comparison of its best trials (`risjax.experiments.search.finalists`), as JSON."""
STANDARD_ERROR = "standard_error"
"""Attribute of a trial: the standard error of its value over the validation scenes."""
_WITHOUT_SEARCH = ("train", "evaluate", "report")


@dataclass(frozen=True)
class TrialRecord:
    """The current state of one slot of the study.

    Attributes:
        number: the slot, from 0.
        state: ``complete``, ``pruned`` (with a reason), ``running``, ``waiting`` or ``failed`` (given up, or to be
            tried again).
        value: the best validation metric of a complete trial, else None.
        error: the value's standard error over the validation scenes; None if it is not known.
        params: {dotted path: value}.
        reason: reason for pruning or failure.
        intermediate: {epoch: metric}, epochs from 1.
        seconds: from its start to its end, None while it runs.
        attempts: number of starts.
        is_best: whether it is the winner: the best finalist, or without finalists the trial with the best value.
    """

    number: int
    state: str
    value: float | None
    error: float | None
    params: dict[str, Any]
    reason: str | None
    intermediate: dict[int, float]
    seconds: float | None
    attempts: int
    is_best: bool = field(default=False)


def read_records(study: optuna.Study, config: Config) -> tuple[TrialRecord, ...]:
    """Return the records of the study's slots, in order, with the best one marked."""
    slots = read_slots(study.get_trials(deepcopy=False))[: config.search.trials]
    records = [_record(slot, config) for slot in slots]
    complete = [record for record in records if record.value is not None]
    if not complete:
        return tuple(records)
    final = kept_comparison(study, config, choose_finalists(config, complete))
    best = _ranked(config, complete)[0] if final is None else final["winner"]
    return tuple(TrialRecord(**{**asdict(record), "is_best": record.number == best}) for record in records)


def choose_finalists(config: Config, records: Sequence[TrialRecord]) -> list[int]:
    """Return the slots that are measured again: the ``search.finalists`` best complete trials, and a ``configured``
    first trial; nothing if there are fewer than two."""
    ranked = _ranked(config, [record for record in records if record.value is not None])
    chosen = ranked[: config.search.finalists]
    if chosen and config.search.first_trial == "configured" and 0 in ranked and 0 not in chosen:
        chosen.append(0)
    return chosen if len(chosen) > 1 else []


def kept_comparison(study: optuna.Study, config: Config, numbers: Sequence[int]) -> dict[str, Any] | None:
    """Return the comparison that a study contains, or None if it is of other trials than ``numbers``, of another metric
    or of another number of scenes."""
    kept = json.loads(study.user_attrs.get(FINALISTS, "null"))
    if kept is None or not numbers:
        return None
    found = [entry["number"] for entry in kept["trials"]], kept["metric"], kept["scenes"]
    return kept if found == (list(numbers), config.search.metric, config.search.final_scenes) else None


def _ranked(config: Config, complete: Sequence[TrialRecord]) -> list[int]:
    """Slots of complete trials, the best value first."""
    sign = 1 if lower_is_better(config.search.metric) else -1
    return [record.number for record in sorted(complete, key=lambda record: sign * (record.value or 0.0))]


def best_config(config: Config, records: Sequence[TrialRecord]) -> Config | None:
    """Return the configuration with the best trial's values in place, or None if no trial is complete."""
    best = next((record for record in records if record.is_best), None)
    return None if best is None else apply_overrides(config, best.params)


def write_records(
    directory: RunDirectory, config: Config, records: Sequence[TrialRecord], *, written: int | None = None
) -> int | None:
    """Write ``search/trials.json`` and, if there is a best trial, ``search/best.yaml``.

    Args:
        directory: the run.
        config: the search's configuration.
        records: the slots.
        written: the trial that this process wrote last to ``best.yaml``; the same trial is not written again.

    Returns:
        The number of the best trial, or None.
    """
    directory.write_json("search/trials.json", [asdict(record) for record in records])
    leader = next((record.number for record in records if record.is_best), None)
    best = best_config(config, records) if leader != written else None
    if best is not None:
        stages = tuple(stage for stage in best.stages if stage != "search") or _WITHOUT_SEARCH
        changes = {
            "stages": stages,
            "run.directory": None,
            "run.compile_cache": "auto",
            "search.storage": None,
            "train.devices": None,
        }
        changes |= {f"distributed.{name}": None for name in DistributedConfig.model_fields}
        text = "# The best configuration of a search, complete: run.py --config best.yaml\n"
        write_atomically(directory.search / "best.yaml", text + to_yaml(apply_overrides(best, changes)))
    return leader


def _record(slot: Slot, config: Config) -> TrialRecord:
    attempts = [trial for trial in slot.attempts if trial.user_attrs.get(END) != WITHDRAWN] or slot.attempts
    trial = slot.finished or slot.active or attempts[-1]
    return TrialRecord(
        number=slot.number,
        state={TrialState.FAIL: "failed"}.get(trial.state, trial.state.name.lower()),
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        error=trial.user_attrs.get(STANDARD_ERROR),
        params=values_of(trial.params, config.search.space),
        reason=trial.user_attrs.get("reason"),
        intermediate=dict(sorted(trial.intermediate_values.items())),
        seconds=_seconds(trial),
        attempts=len(attempts),
    )


def _seconds(trial: FrozenTrial) -> float | None:
    return trial.duration.total_seconds() if trial.duration is not None else None
