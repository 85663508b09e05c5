"""Files with the results of a study: ``trials.json``, ``best.yaml``, ``summary.json``.

All three are derived from the study alone and written atomically after every trial, so that a crash between a trial's
end and its record loses nothing: the next start writes them again.
"""

import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from risjax.config import Config, DistributedConfig
from risjax.config.io import apply_overrides, to_yaml
from risjax.config.metric import lower_is_better
from risjax.experiments.search.sampler import values_of
from risjax.experiments.search.slots import END, WITHDRAWN, Slot, read_slots
from risjax.runs.run_directory import RunDirectory, write_atomically

_MIN_TRIALS_FOR_IMPORTANCE = 4
_WITHOUT_SEARCH = ("train", "evaluate", "report")


@dataclass(frozen=True)
class TrialRecord:
    """The current state of one slot of the study.

    Attributes:
        number: the slot, from 0.
        state: ``complete``, ``pruned`` (with a reason), ``running``, ``waiting`` or ``failed`` (given up, or to be
            tried again).
        value: the best validation metric of a complete trial, else None.
        params: {dotted path: value}.
        reason: reason for pruning or failure.
        intermediate: {epoch: metric}, epochs from 1.
        seconds: from its start to its end, None while it runs.
        attempts: number of starts.
        is_best: whether its value is the best of the study.
    """

    number: int
    state: str
    value: float | None
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
    sign = 1 if lower_is_better(config.search.metric) else -1
    best = min(complete, key=lambda record: sign * (record.value or 0.0)).number
    return tuple(TrialRecord(**{**asdict(record), "is_best": record.number == best}) for record in records)


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


def write_summary(
    directory: RunDirectory,
    study: optuna.Study,
    config: Config,
    records: Sequence[TrialRecord],
    separation: Mapping[str, Any] | None,
) -> None:
    """Write ``search/summary.json``, from which the report presents the search."""
    values = [record.value for record in records if record.value is not None]
    better = min if lower_is_better(config.search.metric) else max
    history, leading = [], None
    for record in records:
        if record.value is not None:
            leading = record.value if leading is None else better(leading, record.value)
            history.append({"number": record.number, "value": record.value, "best": leading})
    trained = sum(len(record.intermediate) for record in records)
    directory.write_json(
        "search/summary.json",
        {
            "metric": config.search.metric,
            "direction": "minimise" if lower_is_better(config.search.metric) else "maximise",
            "trials": config.search.trials,
            "states": {state: sum(r.state == state for r in records) for state in sorted({r.state for r in records})},
            "best": next(
                ({"number": r.number, "value": r.value, "params": r.params} for r in records if r.is_best), None
            ),
            "median": statistics.median(values) if values else None,
            "history": history,
            "importances": importances(study),
            "separation": separation,
            "seconds": sum(record.seconds or 0.0 for record in records),
            "epochs_trained": trained,
            "epochs_pruned_away": sum(
                config.search.epochs - len(record.intermediate) for record in records if record.state == "pruned"
            ),
        },
    )


def importances(study: optuna.Study) -> Mapping[str, float]:
    """Return the importance of each setting for being among the good trials (PED-ANOVA), largest first.

    Empty if too few trials are complete or all have the same value.

    Reference: S. Watanabe, A. Bansal, F. Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
    Arbitrary Subspaces", IJCAI 2023, arXiv:2304.10255.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < _MIN_TRIALS_FOR_IMPORTANCE or len({trial.value for trial in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # (Optuna warns of few trials and of settings with a single value)
        return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))


def _record(slot: Slot, config: Config) -> TrialRecord:
    attempts = [trial for trial in slot.attempts if trial.user_attrs.get(END) != WITHDRAWN] or slot.attempts
    trial = slot.finished or slot.active or attempts[-1]
    return TrialRecord(
        number=slot.number,
        state={TrialState.FAIL: "failed"}.get(trial.state, trial.state.name.lower()),
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        params=values_of(trial.params, config.search.space),
        reason=trial.user_attrs.get("reason"),
        intermediate=dict(sorted(trial.intermediate_values.items())),
        seconds=_seconds(trial),
        attempts=len(attempts),
    )


def _seconds(trial: FrozenTrial) -> float | None:
    return trial.duration.total_seconds() if trial.duration is not None else None
