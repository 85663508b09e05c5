"""Estimate of the time that the trials of a search still need, and how good it was.

The estimate after k finished trials is the mean time of the last ten of them for every trial that is left: the first
trials are random and compile the programs, later ones are pruned more often.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from risjax.experiments.search.record import TrialRecord
from risjax.runs.formatting import duration_text, value_text

_LAST = 10


def seconds_left(records: Sequence[TrialRecord], trials: int) -> float | None:
    """Return the estimated working time of the trials that are left, for one worker at a time.

    Args:
        records: the slots so far.
        trials: number of trials of the study.

    Returns:
        Seconds; None before the first trial has finished.
    """
    times = _finished(records)
    return (trials - len(times)) * statistics.mean(times[-_LAST:]) if times else None


def estimate_errors(records: Sequence[TrialRecord], trials: int) -> list[dict[str, int | float]]:
    """Return the estimates of the whole search after a tenth, a quarter and a half of its trials, with what it took.

    Returns:
        ``[{"after_trials", "estimated_s", "actual_s"}]``; empty before all trials have finished.
    """
    times = _finished(records)
    if len(times) < trials:
        return []
    counts = sorted({max(1, round(share * trials)) for share in (0.1, 0.25, 0.5)})
    return [
        {
            "after_trials": count,
            "estimated_s": sum(times[:count]) + (trials - count) * statistics.mean(times[:count][-_LAST:]),
            "actual_s": sum(times),
        }
        for count in counts
        if count < trials
    ]


def progress_fields(records: Sequence[TrialRecord], trials: int) -> dict[str, Any]:
    """Return what a progress bar shows of a search: the best trial so far with 1.96 standard errors of its validation,
    the number of pruned trials, and the estimated time of the trials that are left."""
    fields: dict[str, Any] = {"pruned": sum(record.state == "pruned" for record in records)}
    best = next((record for record in records if record.is_best), None)
    if best is not None:
        error = f" ± {1.96 * best.error:.2g}" if best.error is not None else ""
        fields["best"] = f"{value_text(best.value)}{error} (trial {best.number + 1})"
    left = seconds_left(records, trials)
    if left:
        fields["trials need"] = duration_text(left)
    return fields


def _finished(records: Sequence[TrialRecord]) -> list[float]:
    return [record.seconds or 0.0 for record in records if record.state in ("complete", "pruned")]
