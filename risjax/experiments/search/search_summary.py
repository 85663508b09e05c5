"""Summary of a study, finished or not: ``search/summary.json``."""

import json
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from risjax.config import Config
from risjax.config.metric import lower_is_better
from risjax.experiments.search.record import FINALISTS, TrialRecord
from risjax.experiments.search.search_tables import make_tables
from risjax.experiments.search.time_left import estimate_errors, seconds_left
from risjax.runs.run_directory import RunDirectory, jsonable

_MIN_TRIALS_FOR_IMPORTANCE = 4


def write_summary(
    directory: RunDirectory,
    study: optuna.Study,
    config: Config,
    records: Sequence[TrialRecord],
    separation: Mapping[str, Any] | None = None,
) -> None:
    """Write ``search/summary.json``, from which the report presents the search, finished or not.

    Args:
        directory: the run.
        study: with the comparison of the finalists, if there is one.
        config: the search's configuration.
        records: the slots so far.
        separation: of `risjax.experiments.search.separation.measure_separation`; None before the end.
    """
    values = [record.value for record in records if record.value is not None]
    better = min if lower_is_better(config.search.metric) else max
    history, leading = [], None
    for record in records:
        if record.value is not None:
            leading = record.value if leading is None else better(leading, record.value)
            history.append({"number": record.number, "value": record.value, "best": leading})
    trained = sum(len(record.intermediate) for record in records)
    summary = {
        "metric": config.search.metric,
        "direction": "minimise" if lower_is_better(config.search.metric) else "maximise",
        "trials": config.search.trials,
        "states": {state: sum(r.state == state for r in records) for state in sorted({r.state for r in records})},
        "best": next(
            (
                {"number": r.number, "value": r.value, "error": r.error, "params": r.params}
                for r in records
                if r.is_best
            ),
            None,
        ),
        "median": statistics.median(values) if values else None,
        "history": history,
        "importances": importances(study),
        "separation": separation,
        "finalists": json.loads(study.user_attrs.get(FINALISTS, "null")),
        "configured": 0 if config.search.first_trial == "configured" else None,
        "estimates": estimate_errors(records, config.search.trials),
        "seconds": sum(record.seconds or 0.0 for record in records),
        "seconds_saved_by_pruning": sum(_seconds_saved(record, config.search.epochs) for record in records),
        "seconds_left": seconds_left(records, config.search.trials),
        "epochs_trained": trained,
        "epochs_pruned_away": sum(
            config.search.epochs - len(record.intermediate) for record in records if record.state == "pruned"
        ),
    }
    summary["tables"] = make_tables(jsonable(summary), jsonable([asdict(record) for record in records]))
    directory.write_json("search/summary.json", summary)


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


def _seconds_saved(record: TrialRecord, epochs: int) -> float:
    """Time that a pruned trial would have needed for its remaining epochs, from the mean of those it had."""
    trained = len(record.intermediate)
    if record.state != "pruned" or not trained:
        return 0.0
    return (record.seconds or 0.0) / trained * (epochs - trained)
