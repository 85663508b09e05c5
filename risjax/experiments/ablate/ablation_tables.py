"""The ablation as tables of text, for the terminal, the report and the documentation."""

from collections.abc import Iterator, Mapping
from typing import Any

from risjax.experiments.ablate.results import METRICS, NETWORK
from risjax.runs.text_tables import Row, interval_text, markdown_rows

_NOTHING = "-"


def make_tables(result: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Return {title: rows}: one table for the network, one a method, and one of the trainings."""
    variants = result["variants"]
    methods = dict.fromkeys(method for entry in variants for method in entry["metrics"] if method != NETWORK)
    title = f"{result['scenes']} scenes, mean over {_seeds(result['seeds'])} [95 % interval]"
    tables = {}
    for method in (NETWORK, *methods):
        metrics = METRICS[NETWORK if method == NETWORK else ""]
        name = "The predicted covariance" if method == NETWORK else method
        tables[f"{name}: {title}; minus {result['reference']}, paired"] = [
            _row(entry, method, metrics, result["reference"]) for entry in variants
        ]
    tables["Settings and trainings of each variant"] = [_training(entry) for entry in variants]
    return tables


def markdown(result: Mapping[str, Any]) -> str:
    """Return all tables as Markdown."""
    lines: list[str] = []
    for title, rows in make_tables(result).items():
        lines += [f"**{title}**", "", *markdown_rows(rows), ""]
    return "\n".join(lines)


def _seeds(count: int) -> str:
    return "one seed, whose spread is unknown" if count == 1 else f"{count} seeds"


def _row(entry: Mapping[str, Any], method: str, metrics: tuple[str, ...], reference: str) -> Row:
    row = {"variant": entry["name"]}
    metrics_of, differences = (entry[part].get(method, {}) for part in ("metrics", "differences"))
    for metric in metrics:
        row[metric] = interval_text(metrics_of.get(metric))
        row[f"{metric}, minus {reference}"] = interval_text(differences.get(metric), sign="+")
    return row


def _training(entry: Mapping[str, Any]) -> Row:
    training = entry["training"]
    row = {
        "variant": entry["name"],
        "settings": ", ".join(_settings(entry["settings"])) or "those of the run",
        "weights": "trained" if entry["of"] is None else entry["of"],
        "steps": _several(training.get("steps")),
        "skipped steps": _several(training.get("skipped_steps")),
        "best epoch": _several(training.get("best_epoch")),
        "training, s": _several([round(value) for value in training.get("seconds", ())]),
    }
    failed = entry["failed_seeds"]
    return row | {"not finite": ", ".join(f"seed {seed}" for seed in failed) or "none"}


def _settings(settings: Mapping[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        yield f"{name} = {'null' if value is None else value}"


def _several(values: Any) -> str:
    """Return one number if all are equal, else the list."""
    distinct = list(dict.fromkeys(values or ()))
    return ", ".join(map(str, values if len(distinct) > 1 else distinct)) or _NOTHING
