"""Write the section "Which settings matter" of docs/search.md: ``influence_page.py NAME=RUN_DIRECTORY ...``.

    python run.py --config influence.yaml                                               # runs/influence
    python run.py --config influence.yaml physics=original run.directory=runs/influence_original
    python benchmarks/influence_page.py default=runs/influence original=runs/influence_original

The results are first collected in ``influence.json`` beside this file, by name, so that the page, its figure and their
data are committed together; runs collected earlier are kept. The stages ``ablate`` and ``tune`` may be unfinished.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from pages import DOCS, rewrite
from picture import INK, MUTED, STYLE

from risjax.experiments.ablate.results import NETWORK
from risjax.runs.formatting import value_text
from risjax.runs.run_directory import RunDirectory
from risjax.runs.text_tables import Row, interval_text, markdown_rows

STORED = Path(__file__).with_name("influence.json")
METHOD = "learned_ml"
METRICS = {"nmse": NETWORK, "f1_3d": METHOD, "f1_angle": METHOD, "gospa_m": METHOD}
SHOWN = "gospa_m"


class Change(NamedTuple):
    """One changed setting: its name, whether it needs another training, and the paired differences by metric."""

    name: str
    trains: bool
    differences: dict[str, Any]


def collect(run: RunDirectory) -> dict[str, Any]:
    """Return the comparisons of a run, and the versions and the processor that they were made with."""
    found = {name: run.read_json(f"{name}.json", {}) for name in ("ablation", "tune")}
    for result in found.values():
        result.pop("tables", None)
    return {**found, "environment": next(run.read_log("environment"), {})}


def read_changes(found: dict[str, Any]) -> Iterator[Change]:
    """Yield the changes of a collected run: those of the training, then those after the network."""
    for entry in found["ablation"].get("variants", [])[1:]:
        differences = {metric: entry["differences"].get(of, {}).get(metric) for metric, of in METRICS.items()}
        settings = ", ".join(f"{path} = {value_text(value)}" for path, value in entry["settings"].items())
        yield Change(settings, True, differences)
    for entry in found["tune"].get("comparisons", [])[1:]:
        yield Change(f"{entry['setting']} = {value_text(entry['value'])}", False, entry["differences"])


def section(name: str, found: dict[str, Any]) -> str:
    """Return the section of one run: its base, then a table of all changes."""
    base = found["ablation"]["variants"][0]
    values = ", ".join(f"{metric} {interval_text(base['metrics'][of][metric])}" for metric, of in METRICS.items())
    environment = found["environment"]
    machine = f"{environment.get('processor', 'Unknown processor')}; " + ", ".join(
        f"{key} {environment.get(key)}" for key in ("python", "jax")
    )
    head = (
        f"**Physics `{name}`.** {found['ablation']['scenes']} scenes; the configured settings have {values} "
        f"(mean of {found['ablation']['seeds']} seeds). {machine}."
    )
    rows = [_row(change) for change in read_changes(found)]
    return "\n".join([head, "", *markdown_rows(rows)])


def _row(change: Change) -> Row:
    row = {"changed setting": f"`{change.name}`", "trained again": "yes" if change.trains else "no"}
    return row | {metric: interval_text(change.differences.get(metric), "+") for metric in METRICS}


def influence_figure(runs: dict[str, dict[str, Any]]) -> Figure:
    """Return the paired differences in GOSPA of all changes, one panel for each run; full marks exclude zero."""
    changes = {name: {change.name: change for change in read_changes(found)} for name, found in runs.items()}
    names = list(dict.fromkeys(name for of_run in changes.values() for name in of_run))[::-1]
    with plt.rc_context(STYLE):
        height = 1.2 + 0.26 * len(names)
        figure, axes = plt.subplots(1, len(runs), figsize=(4 + 3.5 * len(runs), height), sharey=True, squeeze=False)
        for axis, (run, of_run) in zip(axes[0], changes.items(), strict=True):
            for row, name in enumerate(names):
                _draw_change(axis, row, of_run.get(name))
            axis.axvline(0.0, color=INK, lw=0.8)
            axis.set_title(f"Physics {run}")
        figure.supxlabel(
            "change of GOSPA, m (negative is better; full marks: the 95 % interval excludes zero)", fontsize=9
        )
        axes[0, 0].set_yticks(np.arange(len(names)), [fill(name, 48) for name in names])
        axes[0, 0].set_ylim(-0.7, len(names) - 0.3)
        figure.tight_layout()
    return figure


def _draw_change(axis: Any, row: int, change: Change | None) -> None:
    difference = (change.differences.get(SHOWN) if change else None) or {}
    if difference.get("value") is None:
        return
    value, low, high = (difference[part] for part in ("value", "low", "high"))
    if low is None:
        low = high = value
    moves = low > 0 or high < 0
    colour = ("#d1495b" if value > 0 else "#0b7a75") if moves else MUTED
    axis.plot([low, high], [row, row], color=colour, lw=1.4)
    axis.plot(value, row, "o", color=colour, mfc=colour if moves else "white", ms=4.5)


def main() -> None:
    """Collect the runs, then rewrite the section and its figure from all that are stored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="NAME=RUN_DIRECTORY")
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    for run in parser.parse_args().runs:
        name, _, path = run.partition("=")
        stored[name] = collect(RunDirectory(Path(path)))
        if not stored[name]["ablation"].get("variants"):
            raise SystemExit(f"{path} contains no comparison of trainings; run influence.yaml there first")
    if not stored:
        raise SystemExit("no run was named, and none is stored; see --help")
    STORED.write_text(json.dumps(stored, separators=(",", ":")) + "\n", encoding="utf-8")
    influence_figure(stored).savefig(DOCS / "images" / "influence.png", dpi=110)
    picture = "![Paired change of GOSPA by each changed setting](images/influence.png)"
    rewrite("search.md", {"influence": "\n\n".join([picture, *(section(*run) for run in sorted(stored.items()))])})


if __name__ == "__main__":
    main()
