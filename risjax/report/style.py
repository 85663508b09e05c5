"""Style of all figures: colour-blind-safe and readable in print.

Colours are named by role; figures contain no colour literals. The series colours follow M. Okabe and K. Ito, "Color
Universal Design" (2008), darkened to a contrast of at least 3:1 on white. Series that differ in colour also differ in
marker or line style. Figures have a white background; in dark mode the page inverts lightness and keeps the hue
(``filter: invert(0.9) hue-rotate(180deg)``), so each figure is embedded only once.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes

from risjax.report.method_properties import is_reference

WIDTH_IN = 9.2
"""Width in inches of a figure that spans the page."""
EMBEDDED_DPI = 144
"""Gives 1325 pixels across, 1.5 for each CSS pixel."""


SURFACE = "#ffffff"
"""Background of a figure."""
TEXT = "#1c2024"
"""Titles, values, true sources."""
MUTED = "#5c6570"
"""Axis labels and ticks; reference methods."""
LINE = "#b6bcc4"
"""Spines."""
GRID = "#e9ebee"
"""TableBlock lines."""
SERIES = ("#0b68ad", "#d1560b", "#0a8a66", "#a8508a", "#9a7400", "#3a9ad9")
"""Colours of the series, in a fixed order."""
ALARM = "#b3261e"
"""Skipped steps, failures."""
_MARKERS = ("o", "s", "^", "D", "v", "P")


class SeriesStyle(NamedTuple):
    """Colour, marker and line style of a series."""

    color: str
    marker: str
    linestyle: str

    def line(self, **changes: Any) -> dict[str, Any]:
        """Return keyword arguments for ``Axes.plot``."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.linestyle} | changes


def series_style(index: int) -> SeriesStyle:
    """Return the style of the ``index``-th series; beyond the palette, colours repeat with dashed lines."""
    return SeriesStyle(
        SERIES[index % len(SERIES)], _MARKERS[index % len(_MARKERS)], "-" if index < len(SERIES) else "--"
    )


_KNOWN = {"learned_ml": 0, "mvdr": 1, "greedy_ml": 2, "learned_mvdr": 5}
"""Methods with a fixed palette index in every figure; the learned methods are the two blues."""
_REFERENCE_LINES = ("--", ":", "-.")


def method_styles(methods: Sequence[str]) -> dict[str, SeriesStyle]:
    """Return a style for each method; reference methods have muted, broken lines."""
    free = itertools.cycle([index for index in range(len(SERIES)) if index not in _KNOWN.values()])
    lines = itertools.cycle(_REFERENCE_LINES)
    marks = itertools.cycle(reversed(_MARKERS))
    return {
        method: series_style(_KNOWN[method])
        if method in _KNOWN
        else SeriesStyle(MUTED, next(marks), next(lines))
        if is_reference(method)
        else series_style(next(free))
        for method in methods
    }


@contextmanager
def styled() -> Iterator[None]:
    """Apply the report style within a ``with`` block; the user's settings are restored afterwards."""
    with mpl.rc_context(_SETTINGS):
        yield


def tidy(axes: Axes, *, grid: Literal["y", "x", "both"] = "y") -> None:
    """Reduce the axes to the left and bottom spine with a thin grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, axis=grid)
    axes.set_axisbelow(True)


_SETTINGS: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.facecolor": SURFACE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=SERIES),
    "axes.titlecolor": TEXT,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.facecolor": SURFACE,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.labelcolor": TEXT,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "lines.solid_capstyle": "round",
    "savefig.facecolor": SURFACE,
    "text.color": TEXT,
    "xtick.color": MUTED,
    "xtick.labelsize": 9,
    "xtick.major.size": 3,
    "xtick.minor.size": 1.5,
    "ytick.color": MUTED,
    "ytick.labelsize": 9,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}
