"""How every figure looks: restrained, colour-blind-safe, readable in print.

Colours are roles, never literals in a figure. The series' colours follow Okabe and Ito (2008), darkened so that
each stands out from white by at least 3:1; wherever colour tells things apart, a marker or a line style does so
too. Figures are painted on white; on a dark screen the page turns their lightness round and keeps their hues
(``filter: invert(0.9) hue-rotate(180deg)``), so that one picture serves both and weighs half as much.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes

from risjax.report.methods import is_reference

WIDTH_IN = 9.2
"""Width of a figure that spans the page."""
EMBEDDED_DPI = 144
"""1325 pixels across, one and a half for each of the page's."""


SURFACE = "#ffffff"
"""Behind the figure."""
TEXT = "#1c2024"
"""Titles, values, the truth."""
MUTED = "#5c6570"
"""Axis labels and ticks; references that are not to be looked at first."""
LINE = "#b6bcc4"
"""Spines."""
GRID = "#e9ebee"
"""Grid lines."""
SERIES = ("#0b68ad", "#d1560b", "#0a8a66", "#a8508a", "#9a7400", "#3a9ad9")
"""One a series, in a fixed order."""
ALARM = "#b3261e"
"""Skipped steps, failures."""
_MARKERS = ("o", "s", "^", "D", "v", "P")


class Look(NamedTuple):
    """How one series is drawn."""

    color: str
    marker: str
    linestyle: str

    def line(self, **changes: Any) -> dict[str, Any]:
        """Keyword arguments of ``Axes.plot``."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.linestyle} | changes


def series_look(index: int) -> Look:
    """The look of the ``index``-th series; beyond the palette colours repeat, dashed."""
    return Look(SERIES[index % len(SERIES)], _MARKERS[index % len(_MARKERS)], "-" if index < len(SERIES) else "--")


_KNOWN = {"learned_ml": 0, "sample_mvdr": 1, "greedy_ml": 2, "learned_mvdr": 5}
"""Methods with a look of their own in every figure, whoever else is in it; the learned ones are the two blues."""
_REFERENCE_LINES = ("--", ":", "-.")


def method_looks(methods: Sequence[str]) -> dict[str, Look]:
    """A look for each method; a method that is told some of the truth is a muted, broken line."""
    free = itertools.cycle([index for index in range(len(SERIES)) if index not in _KNOWN.values()])
    lines = itertools.cycle(_REFERENCE_LINES)
    marks = itertools.cycle(reversed(_MARKERS))
    return {
        method: series_look(_KNOWN[method])
        if method in _KNOWN
        else Look(MUTED, next(marks), next(lines))
        if is_reference(method)
        else series_look(next(free))
        for method in methods
    }


@contextmanager
def styled() -> Iterator[None]:
    """Paints everything in the block in the report's style; the user's own settings are left alone."""
    with mpl.rc_context(_SETTINGS):
        yield


def tidy(axes: Axes, *, grid: Literal["y", "x", "both"] = "y") -> None:
    """Recessive axes: a left and a bottom spine, a hairline grid behind the data."""
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
