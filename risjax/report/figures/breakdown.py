"""Metrics against SNR, number of sources, range or separation."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from risjax.report.display_names import arrow, axis_name, method_name, metric_name
from risjax.report.drawing import Drawing
from risjax.report.method_properties import has_estimation_error, principal_method
from risjax.report.metrics_view import SourceMetrics
from risjax.report.style import MUTED, method_styles, tidy

_BOUND = "crb_"
_MOST_PANELS = 4
_FEWEST = 5
"""Smallest number of entries for a point; a root mean square of fewer errors is too noisy."""


def metrics_along(
    source: SourceMetrics,
    axis: str,
    metrics: Sequence[str],
    *,
    name: str,
    title: str,
    caption: str,
) -> Drawing | None:
    """Plot metrics against an axis, one panel for each metric and one line for each method, with 95 % intervals.

    If ``crb_x`` exists for a metric ``rmse_x``, the bound is drawn in grey, over the sources that the principal method
    matched. Errors of methods that are given the true covariance are omitted, as are points with fewer than five
    entries.

    Args:
        source: evaluation of one source.
        axis: axis of the breakdowns.
        metrics: metrics to plot, in order; those not measured are omitted.
        name: name of the figure; the name of the source is prepended.
        title: heading.
        caption: description of the figure.

    Returns:
        The figure, or None if no metric was broken down along this axis.
    """
    shown = [metric for metric in metrics if any(source.along(axis, method, metric) for method in source.methods)]
    if not shown:
        return None
    curves = _Curves(axis, tuple(source.methods), _table(source, axis, shown))
    columns = min(len(shown), _MOST_PANELS)
    lines = math.ceil(len(shown) / columns)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(lines, columns, sharex=True, squeeze=False)
        for axes, metric in zip(panels.flat, shown, strict=False):
            curves.draw(axes, metric)
            _finish(axes, metric)
        for axes in panels.flat[len(shown) :]:
            axes.set_visible(False)
        for column in range(columns):
            last = max(line for line in range(lines) if line * columns + column < len(shown))
            curves.label(panels[last, column])
        _legend(figure, panels.flat[: len(shown)])

    return Drawing(f"{source.name}_{name}", title, caption, curves.table, paint, height_in=0.5 + 2.5 * lines)


class _Curves(NamedTuple):
    """Metrics of several methods along one axis.

    Attributes:
        axis: axis of the breakdowns.
        methods: in the order of the legend.
        table: of `_table`.
    """

    axis: str
    methods: tuple[str, ...]
    table: dict[str, Any]

    def points(self, metric: str, method: str) -> tuple[np.ndarray, ...]:
        """Centres of the slices, values and limits of the intervals of one curve."""
        pairs = zip(self.table["metric"], self.table["method"], strict=True)
        rows = [row for row, pair in enumerate(pairs) if pair == (metric, method)]
        return tuple(self.table[column][rows] for column in (f"{self.axis}_centre", "value", "low", "high"))

    def draw(self, axes: Axes, metric: str) -> None:
        """Draw a metric of all methods, and its bound if there is one."""
        styles = method_styles(self.methods)
        for method in self.methods:
            x, value, low, high = self.points(metric, method)
            if not x.size:
                continue
            known = np.isfinite(low) & np.isfinite(high)
            axes.fill_between(x[known], low[known], high[known], color=styles[method].color, alpha=0.15, linewidth=0)
            axes.plot(x, value, **styles[method].line(label=method_name(method)))
        bound, judged = _bound_of(metric), principal_method(self.methods)
        if bound and judged:
            x, value, *_ = self.points(bound, judged)
            axes.plot(x, value, color=MUTED, linestyle=":", label=f"Cramér-Rao bound, {method_name(judged)}")

    def label(self, axes: Axes) -> None:
        """Label the horizontal axis, with ticks at the slices if each is a single integer, such as K."""
        axes.set_xlabel(axis_name(self.axis))
        axes.tick_params(labelbottom=True)
        low, high = self.table[f"{self.axis}_low"], self.table[f"{self.axis}_high"]
        if low.size and np.all(low == high) and np.all(low == np.round(low)):
            axes.set_xticks(np.unique(low))


def _table(source: SourceMetrics, axis: str, shown: Sequence[str]) -> dict[str, Any]:
    """Return the entries of the metrics and of their bounds along an axis, one row for each."""
    bounds = [bound for metric in shown if (bound := _bound_of(metric))]
    rows = [
        (metric, method, part, entry)
        for metric in (*shown, *bounds)
        for method in source.methods
        if has_estimation_error(method) or not metric.startswith(("rmse_", _BOUND))
        for part, entry in source.along(axis, method, metric)
        if entry.count == 0 or entry.count >= _FEWEST
    ]
    return {
        "metric": [metric for metric, *_ in rows],
        "method": [method for _, method, *_ in rows],
        f"{axis}_low": np.array([part.low for *_, part, _ in rows]),
        f"{axis}_high": np.array([part.high for *_, part, _ in rows]),
        f"{axis}_centre": np.array([part.centre for *_, part, _ in rows]),
        "value": np.array([entry.value for *_, entry in rows]),
        "low": np.array([entry.low for *_, entry in rows]),
        "high": np.array([entry.high for *_, entry in rows]),
        "count": np.array([entry.count for *_, entry in rows]),
    }


def _bound_of(metric: str) -> str | None:
    """Return the name of the Cramér-Rao bound of a metric, None if it has none."""
    return _BOUND + metric.removeprefix("rmse_") if metric.startswith("rmse_") else None


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Add one legend with the entries of all panels, each once."""
    entries: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        entries = dict(zip(labels, handles, strict=True)) | entries
    figure.legend(entries.values(), entries.keys(), loc="outside upper left", ncols=5)


def _finish(axes: Axes, metric: str) -> None:
    axes.set_title(f"{metric_name(metric)} {arrow(metric)}")
    axes.margins(x=0.05)
    if metric.startswith(("f1", "precision", "recall", "k_accuracy", "detection")):
        axes.set_ylim(0, 1.03)
    elif metric.startswith("rmse") and all(
        np.all(np.asarray(line.get_ydata(), float) > 0) for line in axes.get_lines()
    ):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    tidy(axes)
