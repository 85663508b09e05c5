"""Run time of each method per scene."""

import numpy as np
from matplotlib.figure import Figure

from risjax.report.display_names import method_name
from risjax.report.drawing import Drawing
from risjax.report.metrics_view import SourceMetrics
from risjax.report.style import TEXT, method_styles, tidy

_STEADY = "scene_s"


def seconds_per_scene(source: SourceMetrics) -> dict[str, float]:
    """Return the steady-state run time per scene in seconds of each method that was timed."""
    return {method: values[_STEADY] for method, values in source.timing.items() if values.get(_STEADY, 0.0) > 0}


def timing_bars(source: SourceMetrics) -> Drawing | None:
    """Plot the run time per scene, one bar for each method.

    Returns:
        The figure, or None if no method was timed.
    """
    seconds = seconds_per_scene(source)
    if not seconds:
        return None
    table = {"method": list(seconds), "ms_per_scene": 1e3 * np.array(list(seconds.values()))}

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        styles = method_styles(table["method"])
        names = [method_name(method) for method in table["method"]]
        bars = axes.barh(names, table["ms_per_scene"], color=[styles[m].color for m in table["method"]], height=0.5)
        axes.bar_label(bars, [f"{value:.3g} ms" for value in table["ms_per_scene"]], padding=4, fontsize=8.5)
        axes.set_xlim(0, 1.15 * table["ms_per_scene"].max())
        axes.set_xlabel("Milliseconds per scene, steady state")
        axes.invert_yaxis()
        tidy(axes, grid="x")
        axes.tick_params(axis="y", labelcolor=TEXT)

    caption = "Same scenes, batches and machine for all methods; without compilation."
    height = 0.95 + 0.32 * len(seconds)
    return Drawing(f"{source.name}_timing", "Time per scene", caption, table, paint, height_in=height)
