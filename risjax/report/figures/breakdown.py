"""Metrics along an axis: SNR, the number of sources, range, separation."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from risjax.report.drawing import Drawing
from risjax.report.methods import makes_errors, principal
from risjax.report.metrics_view import SourceMetrics
from risjax.report.style import MUTED, method_looks, tidy
from risjax.report.words import arrow, axis_name, method_name, metric_name

_BOUND = "crb_"
_MOST_PANELS = 4
_FEWEST = 5
"""Entries behind a point; a root mean square of three errors says nothing."""


def metrics_along(
    source: SourceMetrics,
    axis: str,
    metrics: Sequence[str],
    *,
    name: str,
    title: str,
    caption: str,
) -> Drawing | None:
    """Small multiples of metrics against an axis, a line a method with its 95 % interval.

    A metric ``rmse_x`` with a companion ``crb_x`` gets that bound under it, in grey: the principal method's, over the
    sources that it matched. Methods that are given the true covariance have no errors to show there. Points with
    fewer than five entries behind them are left out.

    Args:
        source: the evaluation.
        axis: the breakdowns' axis.
        metrics: which to show, in order; those that were not measured are left out.
        name: the figure's name; the source's goes before it.
        title: its heading.
        caption: what it shows.

    Returns:
        None where none of the metrics was broken down along this axis.
    """
    methods = list(source.methods)
    shown = [metric for metric in metrics if any(source.along(axis, method, metric) for method in methods)]
    if not shown:
        return None
    companions = {metric: _BOUND + metric.removeprefix("rmse_") for metric in shown if metric.startswith("rmse_")}
    rows = [
        (metric, method, part, entry)
        for metric in (*shown, *companions.values())
        for method in methods
        if makes_errors(method) or not metric.startswith(("rmse_", _BOUND))
        for part, entry in source.along(axis, method, metric)
        if entry.count == 0 or entry.count >= _FEWEST
    ]
    table = {
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

    def curve(metric: str, method: str) -> tuple[np.ndarray, ...]:
        rows = [i for i in range(len(table["value"])) if (table["metric"][i], table["method"][i]) == (metric, method)]
        return tuple(table[column][rows] for column in (f"{axis}_centre", "value", "low", "high"))

    judged = principal(methods)
    columns = min(len(shown), _MOST_PANELS)
    lines = math.ceil(len(shown) / columns)

    def paint(figure: Figure) -> None:
        looks = method_looks(methods)
        panels = figure.subplots(lines, columns, sharex=True, squeeze=False)
        for axes, metric in zip(panels.flat, shown, strict=False):
            bound = companions.get(metric)
            for method in methods:
                x, value, low, high = curve(metric, method)
                if not x.size:
                    continue
                look = looks[method]
                known = np.isfinite(low) & np.isfinite(high)
                axes.fill_between(x[known], low[known], high[known], color=look.color, alpha=0.15, linewidth=0)
                axes.plot(x, value, **look.line(label=method_name(method)))
            if bound and judged:
                x, value, *_ = curve(bound, judged)
                axes.plot(x, value, color=MUTED, linestyle=":", label=f"Cramér-Rao bound, {method_name(judged)}")
            _finish(axes, metric)
        for axes in panels.flat[len(shown) :]:
            axes.set_visible(False)
        for column in range(columns):
            last = max(line for line in range(lines) if line * columns + column < len(shown))
            panels[last, column].set_xlabel(axis_name(axis))
            panels[last, column].tick_params(labelbottom=True)
            _integer_ticks(panels[last, column], table[f"{axis}_low"], table[f"{axis}_high"])
        entries: dict = {}
        for axes in panels.flat[: len(shown)]:
            handles, labels = axes.get_legend_handles_labels()
            entries = dict(zip(labels, handles, strict=True)) | entries
        figure.legend(entries.values(), entries.keys(), loc="outside upper left", ncols=5)

    return Drawing(f"{source.name}_{name}", title, caption, table, paint, height_in=0.5 + 2.5 * lines)


def _finish(axes, metric: str) -> None:
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


def _integer_ticks(axes, low: np.ndarray, high: np.ndarray) -> None:
    """Ticks at the slices themselves where these are single whole numbers, such as K."""
    if low.size and np.all(low == high) and np.all(low == np.round(low)):
        axes.set_xticks(np.unique(low))
