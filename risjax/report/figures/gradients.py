"""Gradient norms of backbone and head, and the size of the updates that came of them."""

from matplotlib.figure import Figure

from risjax.report.drawing import Drawing
from risjax.report.figures.curves import band, columns_present, epoch_marks, log_if_wide
from risjax.report.steps import StepTable, thin
from risjax.report.style import ALARM, series_look, tidy

_NORMS = {"grad_norm_backbone": "backbone", "grad_norm_head": "head"}
_UPDATES = {"update_norm": "update", "param_norm": "parameters"}


def gradient_norms(steps: StepTable) -> Drawing | None:
    """Norms of the gradient, of the update and of the parameters against the step.

    Steps that were skipped for a gradient that is not finite are marked on the axis.

    Returns:
        None where no norm was logged.
    """
    left, right = columns_present(steps, _NORMS), columns_present(steps, _UPDATES)
    if not left and not right:
        return None
    table: dict = {}
    for name in left | right:
        curve = thin(steps.step, steps.columns[name])
        table |= {"step": curve.step, name: curve.mean, f"{name}_low": curve.low, f"{name}_high": curve.high}
    bad = steps.step[~steps.finite]
    epochs = epoch_marks(steps)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, 2, sharex=True)
        for axes, names, title in zip(panels, (left, right), ("Gradient norms", "Update and parameters"), strict=True):
            for index, (name, label) in enumerate(names.items()):
                look = series_look(index)
                band(axes, table, name, color=look.color, label=label, linestyle=("-", (0, (5, 1.5)))[index % 2])
            log_if_wide(axes)
            epochs(axes)
            if bad.size:
                axes.plot(
                    bad,
                    [0.02] * bad.size,
                    "|",
                    color=ALARM,
                    transform=axes.get_xaxis_transform(),
                    markersize=8,
                    label="skipped",
                )
            axes.set_title(title)
            axes.set_xlabel("Step")
            axes.legend(loc="best")
            tidy(axes)

    caption = (
        "Norms of the unscaled gradient before clipping, encoder and head apart; of the change that each step made; "
        "and of the parameters. "
        + (f"{bad.size} steps were skipped (marks on the axis)." if bad.size else "No step was skipped.")
    )
    return Drawing("gradients", "Gradient, update and parameter norms", caption, table, paint, height_in=3.1)
