"""Hyperparameter search: history, parameter importance, pruned trials with reasons."""

import math
from collections.abc import Iterator
from typing import Any

from risjax.report.blocks import Cell, Notice, PropertyList, ReportSection, TableBlock, Text
from risjax.report.display_names import NO_VALUE, metric_name, number
from risjax.report.figures import (
    importances,
    parallel_coordinates,
    search_history,
    slices,
    trial_costs,
    trial_curves,
)
from risjax.report.reading import Run
from risjax.report.sections.result_tables import result_tables
from risjax.runs.formatting import duration_text

_MOST_ROWS = 30
_SEPARATED = 2.0
"""Smallest ratio of spreads at which trials count as separated, as in `risjax.experiments.search`."""


def search_section(run: Run) -> Iterator[ReportSection]:
    """Yield the section of the files in ``search/``."""
    section = ReportSection("search", "Search")
    if not run.trials:
        section.add(Notice("No search was run; the settings are those of the configuration."))
        yield section
        return
    metric = str(run.search.get("metric") or run.setting("search.metric", "value"))
    minimise = run.search.get("direction", "minimise") == "minimise"
    section.add(PropertyList("Summary", _summary(run, metric)))
    section.add(search_history(run.trials, metric, minimise=minimise))
    section.add(parallel_coordinates(run.trials, metric, minimise=minimise))
    shares = run.search.get("importances")
    section.add(importances({n: v for n, v in shares.items() if _number(v)}) if isinstance(shares, dict) else None)
    if not shares:
        section.add(Text("Too few trials are complete to compute parameter importances."))
    section.add(slices(run.trials, metric, minimise=minimise))
    section.add(trial_curves(run.trials, metric, minimise=minimise), trial_costs(run.trials))
    section.add(_separation(run), *result_tables(run.search), _best(run, metric), _unfinished(run))
    yield section


def _summary(run: Run, metric: str) -> list[tuple[str, str]]:
    states = [str(trial.get("state")) for trial in run.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    facts = [("Trials", f"{len(run.trials)} of {run.search.get('trials', len(run.trials))}: {counts}")]
    best, median = run.search.get("best"), run.search.get("median")
    if isinstance(best, dict):
        facts.append((f"Best {metric_name(metric)}", f"{number(best.get('value'))} (trial {best.get('number')})"))
    if _number(median):
        facts.append((f"Median {metric_name(metric)}", number(median)))
    for label, name in (("Epochs trained", "epochs_trained"), ("Epochs saved by pruning", "epochs_pruned_away")):
        if _number(run.search.get(name)):
            facts.append((label, str(run.search[name])))
    if _number(run.search.get("seconds")):
        facts.append(("Total time of the trials", duration_text(run.search["seconds"])))
    return facts


def _separation(run: Run) -> Text | None:
    """Compare the spread of the trials with the spread over seeds of the best configuration."""
    found = run.search.get("separation")
    if not isinstance(found, dict) or not _number(found.get("ratio")):
        return None
    ratio = found["ratio"]
    seeds = len(found.get("seeds") or ())
    conclusion = (
        "the trials differ by more than the seeds"
        if ratio >= _SEPARATED
        else "the ranking of the trials is mostly due to the seeds"
    )
    return Text(
        f"The spread of the trials is {number(ratio)} times the spread of the best configuration over "
        f"{seeds} other seeds ({number(found.get('spread_of_trials'))} against "
        f"{number(found.get('spread_of_seeds'))}): {conclusion}."
    )


def _best(run: Run, metric: str) -> TableBlock | None:
    complete = [trial for trial in run.trials if _number(trial.get("value"))]
    if not complete:
        return None
    sign = 1 if run.search.get("direction", "minimise") == "minimise" else -1
    first = sorted(complete, key=lambda trial: sign * trial["value"])[:5]
    names = list({name: None for trial in first for name in trial.get("params") or {}})
    rows = [
        [str(trial.get("number")), Cell(number(trial["value"]), strong=trial is first[0])]
        + [Cell(_show((trial.get("params") or {}).get(name))) for name in names]
        for trial in first
    ]
    return TableBlock(("Trial", metric_name(metric), *names), rows, "Best complete trials.")


def _unfinished(run: Run) -> TableBlock | None:
    rows = [
        [
            str(trial.get("number")),
            str(trial.get("state")),
            str(trial.get("reason") or "not recorded"),
            Cell(str(len(trial.get("intermediate") or {}))),
        ]
        for trial in run.trials
        if trial.get("state") not in ("complete", None)
    ]
    if not rows:
        return None
    left = f"; the first {_MOST_ROWS} of {len(rows)}" if len(rows) > _MOST_ROWS else ""
    caption = f"Trials that did not complete{left}."
    return TableBlock(("Trial", "State", "Reason", "Epochs"), rows[:_MOST_ROWS], caption, text_columns=3)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else NO_VALUE if value is None else str(value)
