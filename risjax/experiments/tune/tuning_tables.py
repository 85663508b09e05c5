"""The comparisons of the stage ``tune`` as tables of text."""

from collections.abc import Mapping
from typing import Any

from risjax.runs.formatting import value_text
from risjax.runs.text_tables import Row, interval_text

METRICS = ("f1_3d", "f1_angle", "gospa_m")


def make_tables(result: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Return {title: rows} of the contents of ``tune.json``."""
    title = (
        f"Settings after the network: {result['scenes']} scenes [95 % interval]; differences from the settings "
        "chosen so far, paired"
    )
    return {title: [_row(entry) for entry in result["comparisons"]]}


def _row(entry: Mapping[str, Any]) -> Row:
    row = {"setting": entry["setting"] or "the run's own", "value": value_text(entry["value"])}
    for metric in METRICS:
        row[metric] = interval_text(entry["figures"][metric])
        row[f"{metric}, difference"] = interval_text(entry["differences"].get(metric), sign="+")
    row["chosen"] = "yes" if entry["is_chosen"] else ""
    return row
