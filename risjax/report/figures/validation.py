"""Validation metrics by epoch."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from risjax.report.display_names import arrow, metric_name, number
from risjax.report.drawing import Drawing
from risjax.report.style import TEXT, series_style, tidy

_FIRST = ("nmse", "f1_3d", "f1_angle", "gospa_m", "k_accuracy")


def validation_curves(epochs: Sequence[dict[str, Any]], best_metric: str | None = None) -> Drawing | None:
    """Plot the main validation metrics against the epoch, with the best epoch marked.

    Args:
        epochs: epochs from the log.
        best_metric: metric that selects the best epoch.

    Returns:
        The figure, or None if there was no validation.
    """
    rows = [(record["epoch"], record["validation"]) for record in epochs if isinstance(record.get("validation"), dict)]
    if not rows:
        return None
    present = {name: None for _, values in rows for name, value in values.items() if isinstance(value, int | float)}
    table: dict = {"epoch": np.array([epoch for epoch, _ in rows])}
    for name in present:
        table[name] = np.array([_number(values.get(name)) for _, values in rows])
    best = epochs[-1].get("best_epoch")
    table["best"] = np.array([epoch == best for epoch, _ in rows])
    shown = [name for name in _FIRST if name in present] or list(present)[:4]

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(shown), sharex=True, squeeze=False)[0]
        for axes, name in zip(panels, shown, strict=True):
            epoch, values, kept = table["epoch"], table[name], table["best"]
            axes.plot(epoch, values, **series_style(0).line(markersize=3.5 if len(epoch) < 40 else 0))
            if kept.any():
                axes.plot(epoch[kept], values[kept], "o", markersize=9, markerfacecolor="none", color=TEXT)
                axes.annotate(
                    number(float(values[kept][0])),
                    (epoch[kept][0], values[kept][0]),
                    (0, 9),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8.5,
                )
            axes.set_title(f"{metric_name(name)} {arrow(name)}" + (" *" if name == best_metric else ""))
            axes.set_xlabel("Epoch")
            axes.margins(x=0.08, y=0.22)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5))
            tidy(axes)

    caption = "Metrics on fixed scenes not used in training, with K and SNR unknown. The ring marks the best epoch" + (
        f", selected by {metric_name(best_metric)} (*)." if best_metric else "."
    )
    return Drawing("validation", "Validation by epoch", caption, table, paint, height_in=2.5)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
