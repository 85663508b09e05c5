"""Search history, parallel coordinates and parameter importances."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from risjax.report.display_names import arrow, metric_name
from risjax.report.drawing import Drawing
from risjax.report.figures.coordinate import Coordinate, trial_value, trials_by_setting, two_lines
from risjax.report.style import ALARM, LINE, MUTED, SURFACE, TEXT, series_style, tidy

_FLOOR_IN = 1.1


def search_history(trials: Sequence[Mapping[str, Any]], metric: str, *, minimise: bool) -> Drawing | None:
    """Plot the value of every trial in order, and the best value so far.

    A pruned trial is shown with its last reported value, a trial without a value by a mark on the axis.

    Returns:
        The figure, or None if there are no trials.
    """
    if not trials:
        return None
    table = {
        "trial": np.array([trial["number"] for trial in trials]),
        "state": [str(trial.get("state")) for trial in trials],
        "value": np.array([trial_value(trial) for trial in trials]),
        "epochs": np.array([len(trial.get("intermediate") or {}) for trial in trials]),
    }
    complete = np.array([state == "complete" for state in table["state"]])
    running = np.where(complete, table["value"], math.inf if minimise else -math.inf)
    best = (np.minimum if minimise else np.maximum).accumulate(
        np.nan_to_num(running, nan=math.inf if minimise else -math.inf)
    )
    table["best_so_far"] = np.where(np.isfinite(best), best, math.nan)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        blue, other = series_style(0), series_style(1)
        axes.step(table["trial"], table["best_so_far"], where="post", color=blue.color, label="best so far")
        axes.plot(table["trial"][complete], table["value"][complete], "o", color=blue.color, label="complete")
        pruned = ~complete & np.isfinite(table["value"])
        if pruned.any():
            axes.plot(
                table["trial"][pruned], table["value"][pruned], "x", color=other.color, label="pruned, last value"
            )
        lost = ~np.isfinite(table["value"])
        if lost.any():
            axes.plot(
                table["trial"][lost],
                np.full(lost.sum(), 0.03),
                "|",
                color=ALARM,
                markersize=9,
                transform=axes.get_xaxis_transform(),
                label="no value",
            )
        axes.set_xlabel("Trial")
        axes.set_ylabel(f"{metric_name(metric)} {arrow(metric)}")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.margins(x=0.03, y=0.12)
        figure.legend(loc="outside upper left", ncols=4)
        tidy(axes)

    caption = "The validation metric of every trial on the same scenes, and the best complete one so far."
    return Drawing("search_history", "Search history", caption, table, paint, height_in=2.8)


def parallel_coordinates(trials: Sequence[Mapping[str, Any]], metric: str, *, minimise: bool) -> Drawing | None:
    """Plot each trial as a line through its settings to its value.

    Returns:
        The figure, or None if fewer than two trials have a value.
    """
    tabled = trials_by_setting(trials, metric)
    if tabled is None:
        return None
    names, table = tabled

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        scales = [Coordinate(table[name]) for name in names] + [Coordinate(table[metric])]
        places = np.column_stack(
            [
                [scale.place(value) for value in table[name]]
                for scale, name in zip(scales, [*names, metric], strict=True)
            ]
        )
        rank = np.argsort(np.argsort(table[metric] if minimise else -table[metric]))
        for row in np.argsort(-rank):
            is_best, pruned = rank[row] == 0, table["state"][row] != "complete"
            axes.plot(
                range(len(scales)),
                places[row],
                color=series_style(0).color if is_best else MUTED,
                alpha=1.0 if is_best else 0.25 if pruned else 0.55,
                linewidth=2.4 if is_best else 1.0,
                linestyle=":" if pruned else "-",
                zorder=3 if is_best else 2,
            )
        for index, scale in enumerate(scales):
            axes.axvline(index, color=LINE, linewidth=0.8, zorder=1)
            for text, place in scale.ticks():
                axes.annotate(
                    text,
                    (index, place),
                    (4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                    color=MUTED,
                    zorder=4,
                    bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 0.6, "alpha": 0.75},
                )
        labels = [two_lines(name) for name in names] + [f"{metric_name(metric)} {arrow(metric)}"]
        axes.set_xticks(range(len(scales)), labels)
        axes.set_xlim(-0.15, len(scales) - 0.55)
        axes.set_ylim(-0.06, 1.06)
        axes.set_yticks([])
        axes.tick_params(axis="x", length=0)
        axes.spines[:].set_visible(False)

    caption = (
        "One line for each trial, through its settings to its value: best trial in colour, incomplete trials dotted."
    )
    return Drawing("search_parallel", "Searched settings", caption, table, paint, height_in=3.4)


def importances(shares: Mapping[str, float]) -> Drawing | None:
    """Plot the PED-ANOVA importance of each setting.

    Returns:
        The figure, or None if there are no importances.
    """
    if not shares:
        return None
    ordered = sorted(shares.items(), key=lambda entry: entry[1])
    table = {"setting": [name for name, _ in ordered], "importance": np.array([float(value) for _, value in ordered])}

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        bars = axes.barh(table["setting"], table["importance"], color=series_style(0).color, height=0.55)
        axes.bar_label(bars, [f"{value:.2f}" for value in table["importance"]], padding=4, fontsize=8.5)
        axes.set_xlim(0, 1.12 * max(table["importance"].max(), 1e-9))
        axes.set_xlabel("Importance (PED-ANOVA)")
        tidy(axes, grid="x")
        axes.tick_params(axis="y", labelcolor=TEXT)

    caption = "Importance of each setting for the difference between good and other trials; unreliable with few trials."
    height = _FLOOR_IN + 0.3 * len(ordered)
    return Drawing("search_importances", "Parameter importances", caption, table, paint, height_in=height)
