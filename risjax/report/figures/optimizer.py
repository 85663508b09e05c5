"""Learning rate, loss scale, skipped steps and throughput against the step."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from risjax.report.drawing import Drawing
from risjax.report.figures.curves import band, columns_present, epoch_marks
from risjax.report.steps import StepTable, thin
from risjax.report.style import series_style, tidy

_COLUMNS = {
    "learning_rate": "Learning rate",
    "loss_scale": "Loss scale",
    "skipped": "Skipped steps (total)",
    "scenes_per_second": "Scenes per second",
}


def optimizer_curves(steps: StepTable) -> Drawing | None:
    """Plot learning rate, loss scale, skipped steps and throughput, one panel each.

    Returns:
        The figure, or None if none of them was logged.
    """
    names = columns_present(steps, _COLUMNS)
    if not names:
        return None
    table: dict = {}
    for name in names:
        curve = thin(steps.step, steps.columns[name])
        table |= {"step": curve.step, name: curve.mean, f"{name}_low": curve.low, f"{name}_high": curve.high}
    epochs = epoch_marks(steps)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(names), sharex=True, squeeze=False)[0]
        for axes, (name, label) in zip(panels, names.items(), strict=True):
            band(axes, table, name, color=series_style(0).color)
            axes.set_title(label)
            axes.set_xlabel("Step")
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            _scale(axes, name, np.asarray(table[name]))
            epochs(axes)
            tidy(axes)

    caption = "Applied learning rate, loss scale, number of skipped steps, and throughput including scene generation."
    return Drawing(
        "optimizer", "Learning rate, loss scale, skipped steps, throughput", caption, table, paint, height_in=2.3
    )


def _scale(axes: Axes, name: str, values: np.ndarray) -> None:
    if name == "loss_scale":
        if np.nanmin(values) < np.nanmax(values):
            axes.set_yscale("log", base=2)
        else:
            axes.set_ylim(0, 2 * values[0])
        return
    top = np.nanmax(values)
    axes.set_ylim(0, top * 1.08 if top > 0 else 1)
    if name == "learning_rate":
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=name == "skipped"))
