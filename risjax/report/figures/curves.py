"""Helpers for curves against the training step."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from risjax.report.drawing import Table
from risjax.report.steps import StepTable
from risjax.report.style import GRID

_WIDE = 12.0
_MOST_EPOCH_MARKS = 24


def band(axes: Axes, table: Table, name: str, *, color: str, label: str | None = None, linestyle: Any = "-") -> None:
    """Plot column ``name`` against ``step``, with a band from ``<name>_low`` to ``<name>_high``."""
    step = np.asarray(table["step"])
    low, high = np.asarray(table[f"{name}_low"]), np.asarray(table[f"{name}_high"])
    if np.any(high > low):
        axes.fill_between(step, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(step, np.asarray(table[name]), color=color, label=label, linestyle=linestyle, linewidth=1.4)


def log_if_wide(axes: Axes) -> None:
    """Use a logarithmic scale if all values are positive and their ratio exceeds `_WIDE`."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.get_lines()] or [np.empty(0)])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() / values.min() > _WIDE:
        axes.set_yscale("log")


def epoch_marks(steps: StepTable) -> Callable[[Axes], None]:
    """Return a function that draws a thin line at each start of an epoch, unless there are too many epochs."""
    starts = steps.step[1:][np.diff(steps.epoch) > 0]

    def mark(axes: Axes) -> None:
        if len(starts) <= _MOST_EPOCH_MARKS:
            for start in starts:
                axes.axvline(start, color=GRID, linewidth=0.8, zorder=0)

    return mark


def columns_present(steps: StepTable, names: Mapping[str, str]) -> dict[str, str]:
    """Return the entries of ``{column: label}`` whose column was logged."""
    return {name: label for name, label in names.items() if steps.column(name) is not None}
