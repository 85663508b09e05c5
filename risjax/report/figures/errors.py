"""Cumulative distribution of the errors of matched sources."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from risjax.report.display_names import method_name
from risjax.report.drawing import Drawing
from risjax.report.style import method_styles, tidy

_LABELS = {
    "azimuth_deg": "Azimuth error (°)",
    "elevation_deg": "Elevation error (°)",
    "range_m": "Range error (m)",
    "position_m": "Position error (m)",
}
_POINTS = 200
_SPAN = 1e-3
"""Left limit of the axis as a fraction of the largest error."""


def error_cdf(
    errors: Mapping[str, Mapping[str, np.ndarray]], *, name: str, sources: int | None = None
) -> Drawing | None:
    """Plot the empirical cumulative distribution of the error, one panel for each quantity.

    Args:
        errors: ``{method: {quantity: errors of the matched sources}}``; the sign is ignored.
        name: name of the figure.
        sources: total number of sources. If given, curves end at the share of matched sources, so that missed
            sources count; otherwise they end at 1.

    Returns:
        The figure, or None if no source was matched.
    """
    columns: dict[str, list] = {"method": [], "quantity": [], "error": [], "share": []}
    for method, quantities in errors.items():
        for quantity, values in quantities.items():
            error, share = _distribution(np.abs(np.asarray(values, float)), sources)
            columns["method"] += [method] * len(error)
            columns["quantity"] += [quantity] * len(error)
            columns["error"] += error.tolist()
            columns["share"] += share.tolist()
    if not columns["error"]:
        return None
    table = {key: np.array(values) for key, values in columns.items()}
    quantities = list(dict.fromkeys(columns["quantity"]))
    methods = list(dict.fromkeys(columns["method"]))

    def paint(figure: Figure) -> None:
        styles = method_styles(methods)
        panels = figure.subplots(1, len(quantities), sharey=True, squeeze=False)[0]
        for axes, quantity in zip(panels, quantities, strict=True):
            for method in methods:
                row = (table["method"] == method) & (table["quantity"] == quantity)
                axes.plot(
                    table["error"][row],
                    table["share"][row],
                    label=method_name(method),
                    color=styles[method].color,
                    linestyle=styles[method].linestyle,
                )
            axes.set_xscale("log")
            axes.set_xlim(left=_SPAN * table["error"][table["quantity"] == quantity].max())
            axes.set_xlabel(_LABELS.get(quantity, quantity))
            axes.set_ylim(0, 1.02)
            tidy(axes, grid="both")
        panels[0].set_ylabel("Share of all sources" if sources else "Share of matched sources")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=5)

    caption = "Errors of sources matched within the angular gate, regardless of range. " + (
        "Each curve ends at the share of sources that the method detected." if sources else ""
    )
    return Drawing(name, "Error distribution", caption.strip(), table, paint, height_in=3.0)


def _distribution(values: np.ndarray, sources: int | None) -> tuple[np.ndarray, np.ndarray]:
    ordered = np.sort(values[np.isfinite(values)])
    if not ordered.size:
        return np.empty(0), np.empty(0)
    share = np.arange(1, ordered.size + 1) / (sources or ordered.size)
    kept = np.unique(np.linspace(0, ordered.size - 1, _POINTS).round().astype(int))
    positive = ordered[ordered > 0]
    floor = positive[0] if positive.size else 1e-12
    return np.maximum(ordered[kept], floor), share[kept]
