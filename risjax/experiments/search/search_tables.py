"""A search as tables of text, from its summary and trials: for the report and the documentation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from risjax.runs.formatting import duration_text, value_text
from risjax.runs.text_tables import Row, interval_text

Trials = Sequence[Mapping[str, Any]]


def make_tables(summary: Mapping[str, Any], trials: Trials) -> dict[str, list[Row]]:
    """Return {title: rows} of a search, finished or not; tables without rows are left out.

    Args:
        summary: contents of ``search/summary.json``.
        trials: contents of ``search/trials.json``.
    """
    metric, final = summary["metric"], summary.get("finalists") or {}
    tables = {
        f"Finalists: {metric} of {final.get('scenes')} further scenes [95 % interval]; minus the winner, paired": [
            _finalist(entry, trials, summary) for entry in final.get("trials", ())
        ],
        "Searched settings: the winner, the configuration, and the importance of each (PED-ANOVA)": list(
            _settings(summary, trials)
        ),
        "Trials, epochs and time": list(_costs(summary, trials)),
        "Estimates of the trials' time": [_estimate(entry) for entry in summary.get("estimates", ())],
        f"Spread of {metric}: standard deviations": list(_spreads(summary)),
    }
    return {title: rows for title, rows in tables.items() if rows}


def all_trials(trials: Trials, metric: str) -> list[Row]:
    """Return one row a trial: its state, its value with 1.96 standard errors, its epochs, time and settings."""
    return [
        {
            "trial": str(trial["number"]),
            "state": trial["state"],
            metric: _value(trial),
            "epochs": str(len(trial["intermediate"])),
            "time": "-" if trial["seconds"] is None else duration_text(trial["seconds"]),
            **{_short(path): value_text(value) for path, value in trial["params"].items()},
        }
        for trial in trials
    ]


def _finalist(entry: Mapping[str, Any], trials: Trials, summary: Mapping[str, Any]) -> Row:
    number = entry["number"]
    roles = [
        role
        for role, is_so in (
            ("winner", number == summary["finalists"]["winner"]),
            ("configured", number == summary.get("configured")),
        )
        if is_so
    ]
    return {
        "trial": str(number),
        "": ", ".join(roles),
        "validation": _value(trials[number]),
        "final": interval_text(entry),
        "minus the winner": interval_text(entry["behind"], sign="+"),
    }


def _settings(summary: Mapping[str, Any], trials: Trials) -> Iterator[Row]:
    best, configured = summary.get("best"), summary.get("configured")
    own = trials[configured]["params"] if configured is not None and trials else {}
    importances = summary.get("importances") or {}
    for path, value in (best or {}).get("params", {}).items():
        share = importances.get(path)
        yield {
            "setting": path,
            "winner": value_text(value),
            "configured": value_text(own.get(path)),
            "importance": "-" if share is None else f"{share:.2f}",
        }


def _costs(summary: Mapping[str, Any], trials: Trials) -> Iterator[Row]:
    for state in dict.fromkeys(trial["state"] for trial in trials):
        chosen = [trial for trial in trials if trial["state"] == state]
        yield {
            "trials": f"{len(chosen)} {state}",
            "epochs": str(sum(len(trial["intermediate"]) for trial in chosen)),
            "time": duration_text(sum(trial["seconds"] or 0.0 for trial in chosen)),
        }
    if summary["epochs_pruned_away"]:
        yield {
            "trials": "saved by pruning",
            "epochs": str(summary["epochs_pruned_away"]),
            "time": duration_text(summary["seconds_saved_by_pruning"]),
        }
    if summary.get("seconds_left"):
        left = summary["trials"] - sum(trial["state"] in ("complete", "pruned") for trial in trials)
        yield {"trials": f"{left} left", "epochs": "-", "time": f"about {duration_text(summary['seconds_left'])}"}


def _estimate(entry: Mapping[str, Any]) -> Row:
    error = 100 * (entry["estimated_s"] / entry["actual_s"] - 1) if entry["actual_s"] else 0.0
    return {
        "after": f"{entry['after_trials']} trials",
        "estimated": duration_text(entry["estimated_s"]),
        "actual": duration_text(entry["actual_s"]),
        "error": f"{error:+.0f} %",
    }


def _spreads(summary: Mapping[str, Any]) -> Iterator[Row]:
    found = summary.get("separation")
    if found:
        seeds = ", ".join(value_text(value) for value in found["seeds"])
        yield {"of": "the complete trials", "spread": value_text(found["spread_of_trials"])}
        yield {"of": f"the winner under other seeds ({seeds})", "spread": value_text(found["spread_of_seeds"])}


def _value(trial: Mapping[str, Any]) -> str:
    if trial["value"] is None:
        return "-"
    error = trial.get("error")
    return value_text(trial["value"]) + (f" ± {1.96 * error:.2g}" if error is not None else "")


def _short(path: str) -> str:
    return path.rpartition(".")[2] if path.count(".") == 1 else ".".join(path.split(".")[-2:])
