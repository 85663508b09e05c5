"""Calibration of the estimated standard deviations: empirical against nominal coverage."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from risjax.report.display_names import method_name
from risjax.report.drawing import Drawing
from risjax.report.metrics_view import SourceMetrics
from risjax.report.style import MUTED, method_styles, tidy

_SIGMAS = (1, 2, 3)
_PREFIX = "coverage_"


def coverage(source: SourceMetrics) -> Drawing | None:
    """Plot the share of matched sources within 1, 2 and 3 standard deviations, one panel for each coordinate.

    Reads the metrics ``coverage_<n>sigma_<coordinate>`` of the ``overall`` breakdown.

    Returns:
        The figure, or None if no method estimates standard deviations.
    """
    table = _table(source)
    if not table["method"]:
        return None
    coordinates = list(dict.fromkeys(table["coordinate"]))

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(coordinates), sharey=True, squeeze=False)[0]
        for axes, coordinate in zip(panels, coordinates, strict=True):
            _panel(axes, table, coordinate)
        panels[0].set_ylabel("Coverage")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=5)

    caption = (
        "Share of sources, matched by angle only, whose error is within 1, 2 and 3 estimated standard deviations. "
        "Below the nominal coverage a method is overconfident, above it underconfident."
    )
    return Drawing(f"{source.name}_calibration", "Calibration", caption, table, paint, height_in=2.8)


def _table(source: SourceMetrics) -> dict[str, Any]:
    """Return the coverages of all methods, one row for each coordinate and number of standard deviations."""
    rows = []
    for method in source.methods:
        for metric in source.metrics():
            sigma, _, coordinate = metric.removeprefix(_PREFIX).partition("_")
            entry = source.overall(method, metric)
            if metric.startswith(_PREFIX) and sigma in {f"{n}sigma" for n in _SIGMAS} and entry is not None:
                rows.append((method, coordinate, int(sigma[0]), entry))
    return {
        "method": [method for method, *_ in rows],
        "coordinate": [coordinate for _, coordinate, *_ in rows],
        "sigma": np.array([sigma for _, _, sigma, _ in rows]),
        "coverage": np.array([entry.value for *_, entry in rows]),
        "low": np.array([entry.low for *_, entry in rows]),
        "high": np.array([entry.high for *_, entry in rows]),
        "nominal": np.array([_nominal(sigma) for _, _, sigma, _ in rows]),
    }


def _panel(axes: Axes, table: dict[str, Any], coordinate: str) -> None:
    """Draw the nominal coverage of one coordinate and that of each method, side by side."""
    methods = list(dict.fromkeys(table["method"]))
    styles = method_styles(methods)
    axes.plot(_SIGMAS, list(map(_nominal, _SIGMAS)), color=MUTED, linestyle=":", marker="_", label="nominal")
    for index, method in enumerate(methods):
        pairs = zip(table["method"], table["coordinate"], strict=True)
        row = [i for i, pair in enumerate(pairs) if pair == (method, coordinate)]
        x = table["sigma"][row] + 0.08 * (index - (len(methods) - 1) / 2)
        color, marker = styles[method].color, styles[method].marker
        axes.vlines(x, table["low"][row], table["high"][row], color=color, linewidth=1.2)
        axes.plot(x, table["coverage"][row], label=method_name(method), color=color, marker=marker, linestyle="none")
    axes.set_title(coordinate.replace("_", " "))
    axes.set_xticks(_SIGMAS, [f"{n}\N{GREEK SMALL LETTER SIGMA}" for n in _SIGMAS])
    axes.set_ylim(0, 1.03)
    tidy(axes)


def _nominal(sigma: int) -> float:
    """Return the probability that a Gaussian error is within ``sigma`` standard deviations."""
    return math.erf(sigma / math.sqrt(2))
