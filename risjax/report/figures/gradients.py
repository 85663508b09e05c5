"""Norms of the gradients, the updates and the parameters."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from risjax.report.drawing import Drawing
from risjax.report.figures.curves import band, columns_present, epoch_marks, log_if_wide
from risjax.report.steps import StepTable, thin
from risjax.report.style import ALARM, series_style, tidy

_PANELS = {
    "Gradient norms": {"grad_norm_backbone": "backbone", "grad_norm_head": "head"},
    "Norm of the update": {"update_norm": "update"},
    "Norm of the parameters": {"param_norm": "parameters"},
}
_LINES = ("-", (0, (4, 1.5)))


def gradient_norms(steps: StepTable) -> Drawing | None:
    """Plot norms of the gradient, the update and the parameters against the step.

    Steps skipped because of a non-finite loss or gradient are marked on the axis.

    Returns:
        The figure, or None if no norm was logged.
    """
    panels = {title: present for title, names in _PANELS.items() if (present := columns_present(steps, names))}
    if not panels:
        return None
    table: dict = {}
    for name in (name for names in panels.values() for name in names):
        curve = thin(steps.step, steps.columns[name])
        table |= {"step": curve.step, name: curve.mean, f"{name}_low": curve.low, f"{name}_high": curve.high}
    bad = steps.step[~steps.finite]
    epochs = epoch_marks(steps)

    def paint(figure: Figure) -> None:
        widths = [1.5 if len(names) > 1 else 1.0 for names in panels.values()]
        drawn = figure.subplots(1, len(panels), sharex=True, squeeze=False, width_ratios=widths)[0]
        for axes, (title, names) in zip(drawn, panels.items(), strict=True):
            for index, (name, label) in enumerate(names.items()):
                band(axes, table, name, color=series_style(index).color, label=label, linestyle=_LINES[index % 2])
            log_if_wide(axes)
            epochs(axes)
            if bad.size:
                place = axes.get_xaxis_transform()
                axes.plot(bad, [0.02] * bad.size, "|", color=ALARM, transform=place, markersize=8, label="skipped")
            axes.set_title(title)
            axes.set_xlabel("Step")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            tidy(axes)
        drawn[0].legend(loc="best")

    caption = (
        "Norms of the unscaled gradient before clipping (backbone and head separately), of the parameter update "
        "of each step, and of the parameters. "
        + (
            f"{bad.size} step{'s were' if bad.size > 1 else ' was'} skipped (red marks on the axis)."
            if bad.size
            else "No step was skipped."
        )
    )
    return Drawing("gradients", "Gradient, update and parameter norms", caption, table, paint, height_in=2.9)
