"""Training loss, total and by term."""

from matplotlib.figure import Figure

from risjax.report.drawing import Drawing
from risjax.report.figures.curves import band, epoch_marks, log_if_wide
from risjax.report.steps import StepTable, thin
from risjax.report.style import TEXT, series_style, tidy


def loss_curves(steps: StepTable, weights: dict[str, float] | None = None) -> Drawing | None:
    """Plot the total loss and each unweighted term against the step.

    Args:
        steps: training steps.
        weights: weight of each term, shown in the legend.

    Returns:
        The figure, or None if no loss was logged.
    """
    if steps.column("loss") is None:
        return None
    total = thin(steps.step, steps.columns["loss"])
    table = {"step": total.step, "loss": total.mean, "loss_low": total.low, "loss_high": total.high}
    for name, values in steps.terms.items():
        term = thin(steps.step, values)
        table |= {f"term_{name}": term.mean, f"term_{name}_low": term.low, f"term_{name}_high": term.high}
    epochs = epoch_marks(steps)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, 1 + bool(steps.terms), sharex=True, squeeze=False)[0]
        band(panels[0], table, "loss", color=TEXT)
        panels[0].set_title("Total")
        if steps.terms:
            for index, name in enumerate(steps.terms):
                weight = (weights or {}).get(name)
                label = name if weight is None else f"{name} (weight {weight:.3g})"
                band(panels[1], table, f"term_{name}", color=series_style(index).color, label=label)
            panels[1].set_title("Unweighted terms")
            panels[1].legend(loc="upper right")
        for axes in panels:
            log_if_wide(axes)
            epochs(axes)
            axes.set_xlabel("Step")
            tidy(axes)

    caption = "Loss at each training step" + (
        ": mean of consecutive steps, with a band from minimum to maximum."
        if len(total.step) < len(steps.step)
        else "."
    )
    return Drawing("loss", "Loss", caption, table, paint, height_in=3.1)
