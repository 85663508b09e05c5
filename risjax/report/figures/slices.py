"""Values of the trials against each searched setting."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from risjax.report.display_names import arrow, metric_name
from risjax.report.drawing import Drawing
from risjax.report.figures.coordinate import Coordinate, trials_by_setting, two_lines
from risjax.report.style import MUTED, series_style, tidy

_COLUMNS = 4
_PANEL_IN = 1.7


def slices(trials: Sequence[Mapping[str, Any]], metric: str, *, minimise: bool) -> Drawing | None:
    """Plot the value of every trial against each of its settings.

    Returns:
        The figure, or None if fewer than two trials have a value.
    """
    tabled = trials_by_setting(trials, metric)
    if tabled is None:
        return None
    names, table = tabled
    rows = -(-len(names) // _COLUMNS)

    def paint(figure: Figure) -> None:
        panels = np.ravel(figure.subplots(rows, min(_COLUMNS, len(names)), sharey=True, squeeze=False))
        complete = np.array([state == "complete" for state in table["state"]])
        best = (np.argmin if minimise else np.argmax)(table[metric])
        for name, axes in zip(names, panels, strict=False):
            scale = Coordinate(table[name])
            places = np.array([scale.place(value) for value in table[name]])
            axes.plot(places[~complete], table[metric][~complete], "x", color=MUTED, markersize=4)
            axes.plot(places[complete], table[metric][complete], "o", color=MUTED, markersize=4)
            axes.plot(places[best], table[metric][best], "o", color=series_style(0).color, markersize=7)
            labels, ticks = zip(*scale.ticks(), strict=True)
            axes.set_xticks(ticks, labels, fontsize=8)
            axes.set_xlim(-0.12, 1.12)
            axes.set_title(two_lines(name), fontsize=8.5, loc="left")
            tidy(axes)
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        figure.supylabel(f"{metric_name(metric)} {arrow(metric)}", fontsize=9)

    caption = "Value of every trial against each setting; best trial in colour, pruned trials (last value) as crosses."
    return Drawing("search_slices", "Trial values by setting", caption, table, paint, height_in=0.4 + _PANEL_IN * rows)
