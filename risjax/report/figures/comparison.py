"""Training losses of risjax and PyTorch."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from risjax.report.drawing import Drawing
from risjax.report.figures.curves import log_if_wide
from risjax.report.style import series_style, tidy

_NAMES = {"risjax": "risjax", "pytorch": "PyTorch"}


def compared_losses(runs: dict[str, Any]) -> Drawing | None:
    """Plot the losses of both trainings against the step and their difference, one column for each compute dtype.

    Args:
        runs: ``runs`` of ``compare.json``.

    Returns:
        The figure, or None if no training was compared.
    """
    losses = {
        compute: {name: np.array(run[name]["losses"], float) for name in _NAMES}
        for compute, run in runs.items()
        if all(isinstance(run.get(name), dict) and run[name].get("losses") for name in _NAMES)
    }
    if not losses:
        return None
    longest = max(len(values) for pair in losses.values() for values in pair.values())
    table: dict[str, np.ndarray] = {"step": np.arange(longest)}
    for compute, pair in losses.items():
        for name, values in pair.items():
            table[f"{compute}_{name}"] = np.pad(values, (0, longest - len(values)), constant_values=np.nan)
    computes = list(losses)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(2, len(computes), squeeze=False, sharex=True, gridspec_kw={"height_ratios": [2.2, 1]})
        for column, compute in enumerate(computes):
            above, below = panels[:, column]
            for index, (name, label) in enumerate(_NAMES.items()):
                style, width = series_style(index), 3.2 if index == 0 else 1.2
                above.plot(table["step"], table[f"{compute}_{name}"], color=style.color, linewidth=width, label=label)
            difference = np.abs(table[f"{compute}_risjax"] - table[f"{compute}_pytorch"])
            below.plot(table["step"], np.where(difference > 0, difference, np.nan), color=series_style(2).color)
            above.set_title(compute)
            below.set_xlabel("Step")
            below.set_yscale("log")
            log_if_wide(above)
            for axes in (above, below):
                tidy(axes)
        panels[0, 0].set_ylabel("Loss")
        panels[1, 0].set_ylabel("|Difference|")
        panels[0, -1].legend(loc="upper right")

    caption = "Loss with the same scenes and initial weights: risjax as a thick line, PyTorch as a thin line on top."
    return Drawing("compared_losses", "Training loss of both frameworks", caption, table, paint, height_in=4.2)
