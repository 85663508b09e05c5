"""How every figure looks: restrained, colour-blind-safe, readable in print.

Colours are roles, never literals in a figure. The series' colours follow Okabe and Ito (2008), darkened so that
each stands out from white by at least 3:1; wherever colour tells things apart, a marker or a line style does so
too. Figures are painted on white; on a dark screen the page turns their lightness round and keeps their hues
(``filter: invert(0.9) hue-rotate(180deg)``), so that one picture serves both and weighs half as much.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes

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


def method_looks(methods: Sequence[str]) -> dict[str, Look]:
    """A look for each method that does not depend on which others are there, as far as the palette goes.

    What was learned is always the first colour, the unlearned sample covariance the second; whoever is told
    some of the truth is a muted broken reference; the rest share the other colours in order.
    """
    looks: dict[str, Look] = {}
    others, references = 2, 0
    for method in methods:
        if method.startswith("learned") and not any(look.color == SERIES[0] for look in looks.values()):
            looks[method] = series_look(0)
        elif method.startswith("sample"):
            looks[method] = series_look(1)
        elif is_reference(method):
            looks[method] = Look(MUTED, _MARKERS[-1 - references % 3], ("--", ":", "-.")[references % 3])
            references += 1
        else:
            looks[method] = series_look(others)
            others += 1
    return looks


def is_reference(method: str) -> bool:
    """Whether a method's name says that it is told something of the truth: a reference, no competitor."""
    return bool(told(method))


def told(method: str) -> str:
    """What a method is told of the truth, by its name, in words; empty for a blind one."""
    if method.startswith(("oracle", "true_")):
        return "the true covariance and K"
    return "K" if method.endswith("_told_k") else "the scenes' law" if method.startswith("bayes") else ""


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


_SETTINGS: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.facecolor": SURFACE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": mpl.cycler(color=SERIES),
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
