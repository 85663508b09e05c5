"""Learning curves and run times of the trials of a search."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from risjax.report.display_names import arrow, metric_name
from risjax.report.drawing import Drawing
from risjax.report.figures.coordinate import trial_value
from risjax.report.style import MUTED, series_style, tidy


def trial_curves(trials: Sequence[Mapping[str, Any]], metric: str, *, minimise: bool) -> Drawing | None:
    """Plot the metric of every trial against the epoch; curves of pruned and failed trials end early.

    Returns:
        The figure, or None if no trial reported a value.
    """
    points = [
        (trial["number"], str(trial.get("state")), int(epoch), float(value))
        for trial in trials
        for epoch, value in sorted((trial.get("intermediate") or {}).items(), key=lambda entry: int(entry[0]))
        if isinstance(value, int | float) and math.isfinite(value)
    ]
    if not points:
        return None
    number, state, epoch, value = zip(*points, strict=True)
    table = {"trial": np.array(number), "state": list(state), "epoch": np.array(epoch), metric: np.array(value)}
    complete = [trial for trial in trials if trial.get("state") == "complete" and math.isfinite(trial_value(trial))]
    best = (min if minimise else max)(complete, key=trial_value)["number"] if complete else None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        states = np.array(table["state"])
        for trial in np.unique(table["trial"]):
            rows = table["trial"] == trial
            pruned, leads = states[rows][0] != "complete", trial == best
            x, y = table["epoch"][rows], table[metric][rows]
            color, width = (series_style(0).color, 2.2) if leads else (MUTED, 1.0)
            axes.plot(x, y, color=color, linewidth=width, alpha=1.0 if leads else 0.6, zorder=3 if leads else 2)
            if pruned:
                axes.plot(x[-1], y[-1], "x", color=series_style(1).color, markersize=5, zorder=4)
        axes.set_xlabel("Epoch")
        axes.set_ylabel(f"{metric_name(metric)} {arrow(metric)}")
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        tidy(axes)

    caption = "Metric of every trial after each epoch, best trial in colour; a cross marks a pruned or failed trial."
    return Drawing("search_pruning", "Learning curves of the trials", caption, table, paint, height_in=2.8)


def trial_costs(trials: Sequence[Mapping[str, Any]]) -> Drawing | None:
    """Plot the time of the last attempt of each trial.

    Returns:
        The figure, or None if no trial has ended.
    """
    ended = [trial for trial in trials if isinstance(trial.get("seconds"), int | float)]
    if not ended:
        return None
    table = {
        "trial": np.array([trial["number"] for trial in ended]),
        "state": [str(trial.get("state")) for trial in ended],
        "epochs": np.array([len(trial.get("intermediate") or {}) for trial in ended]),
        "seconds": np.array([float(trial["seconds"]) for trial in ended]),
    }
    table["cumulative_seconds"] = np.cumsum(table["seconds"])

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        complete = np.array([state == "complete" for state in table["state"]])
        unit_s, unit = (3600.0, "h") if table["seconds"].max() > 3600 else (60.0, "min")
        for chosen, style, label in (
            (complete, series_style(0), "complete"),
            (~complete, series_style(1), "incomplete"),
        ):
            if chosen.any():
                axes.bar(table["trial"][chosen], table["seconds"][chosen] / unit_s, color=style.color, label=label)
        axes.set_xlabel("Trial")
        axes.set_ylabel(f"Time of a trial [{unit}]")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        figure.legend(loc="outside upper left", ncols=2)
        tidy(axes, grid="y")

    caption = "Time of each trial, including compilation and validation."
    return Drawing("search_cost", "Time of the trials", caption, table, paint, height_in=2.4)
