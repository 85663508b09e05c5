"""One scene in space: the surface, where the sources are, and where a method says they are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from risjax.report.drawing import Drawing
from risjax.report.style import GRID, LINE, MUTED, TEXT, method_looks, tidy
from risjax.report.words import method_name

_SIGMAS = 2.0
_LONGEST_M = 30.0


class Points(NamedTuple):
    """Sources or estimates of one scene.

    Attributes:
        position: (azimuth [rad], elevation [rad], range [m]), [n, 3].
        std: standard deviations in the same units, [n, 3]; not finite where unknown. None for the truth.
    """

    position: np.ndarray
    std: np.ndarray | None = None


def scene_view(
    truth: Points,
    estimates: dict[str, Points],
    *,
    name: str,
    title: str,
    caption: str,
    max_range_m: float | None = None,
) -> Drawing:
    """A scene in three dimensions, from above and from the side.

    Truth is a ring, an estimate a cross of its method's colour with the interval of two standard deviations
    where the method states one. The surface lies at the origin and looks along boresight.

    Args:
        truth: the sources.
        estimates: what each method says, in the order of the legend.
        name: the figure's name.
        title: its heading.
        caption: which scene it is and how it went.
        max_range_m: how far the plots reach; by default as far as the points do.
    """
    entries = [("truth", truth), *estimates.items()]
    table = _table(entries)
    reach = max_range_m or float(np.max(table["range_m"], initial=1.0))

    def paint(figure: Figure) -> None:
        looks = method_looks(list(estimates))
        left, right = figure.subfigures(1, 2, width_ratios=(1.05, 1))
        space = left.add_subplot(projection="3d", computed_zorder=False)
        above, side = right.subplots(2, 1)
        _space(space, table, looks, reach)
        for axes, flat in ((above, "x_m"), (side, "y_m")):
            _section(axes, table, looks, flat, reach)
        above.set_title("From above")
        above.set_ylabel("horizontal (m)")
        side.set_title("From the side")
        side.set_ylabel("vertical (m)")
        side.set_xlabel("boresight (m)")
        handles, labels = above.get_legend_handles_labels()
        left.legend(handles, labels, loc="upper left", ncols=len(labels), borderaxespad=0.1)

    return Drawing(name, title, caption, table, paint, height_in=4.1)


def _table(entries: Sequence[tuple[str, Points]]) -> dict[str, np.ndarray]:
    who = np.concatenate([[label] * len(points.position) for label, points in entries])
    position = np.concatenate([np.reshape(points.position, (-1, 3)) for _, points in entries]).astype(float)
    std = np.concatenate(
        [np.full((len(p.position), 3), np.nan) if p.std is None else np.reshape(p.std, (-1, 3)) for _, p in entries]
    ).astype(float)
    azimuth, elevation, range_m = position.T
    return {
        "who": who,
        "azimuth_deg": np.degrees(azimuth),
        "elevation_deg": np.degrees(elevation),
        "range_m": range_m,
        "azimuth_std_deg": np.degrees(std[:, 0]),
        "elevation_std_deg": np.degrees(std[:, 1]),
        "range_std_m": std[:, 2],
        "x_m": range_m * np.sin(azimuth) * np.cos(elevation),
        "y_m": range_m * np.sin(elevation),
        "z_m": range_m * np.cos(azimuth) * np.cos(elevation),
    }


def _space(axes, table: dict[str, np.ndarray], looks: dict, reach: float) -> None:
    """The three-dimensional view: boresight to the right, horizontal into the page, vertical up."""
    half = 0.09 * reach
    floor = min(-0.35 * reach, float(np.min(table["y_m"], initial=0.0)))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * half
    axes.plot(np.zeros(5), corners[:, 0], corners[:, 1], color=TEXT, linewidth=1.4)
    axes.plot([0, reach], [0, 0], [0, 0], color=MUTED, linewidth=0.8, linestyle=":")
    for who in dict.fromkeys(table["who"]):
        row = table["who"] == who
        x, y, z = table["z_m"][row], table["x_m"][row], table["y_m"][row]
        if who == "truth":
            for point in zip(x, y, z, strict=True):
                axes.plot([point[0]] * 2, [point[1]] * 2, [floor, point[2]], color=LINE, linewidth=0.8)
            axes.plot(x, y, np.full_like(z, floor), ".", color=LINE, markersize=3)
            axes.plot(x, y, z, "o", markersize=9, markerfacecolor="none", markeredgewidth=1.5, color=TEXT)
        else:
            axes.plot(x, y, z, "x", markersize=6.5, markeredgewidth=1.8, color=looks[who].color)
    axes.set(xlim=(0, reach), ylim=(-0.75 * reach, 0.75 * reach), zlim=(floor, -floor))
    axes.set_box_aspect((1, 1.5, 2 * abs(floor) / reach), zoom=1.12)
    axes.view_init(elev=22, azim=-58)
    axes.set_xlabel("boresight (m)")
    axes.set_ylabel("horizontal (m)")
    axes.set_zlabel("vertical (m)")
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((0, 0, 0, 0))
        axis._axinfo["grid"] |= {"color": GRID, "linewidth": 0.7}
        axis.line.set_color(LINE)
        axis.set_major_locator(_few())


def _section(axes: Axes, table: dict[str, np.ndarray], looks: dict, flat: str, reach: float) -> None:
    axes.plot([0, 0], [-0.09 * reach, 0.09 * reach], color=TEXT, linewidth=2.2, solid_capstyle="butt")
    for who in dict.fromkeys(["truth", *looks]):
        row = table["who"] == who
        x, y = table["z_m"][row], table[flat][row]
        if who == "truth":
            axes.plot(
                x,
                y,
                "o",
                markersize=9,
                markerfacecolor="none",
                markeredgewidth=1.5,
                color=TEXT,
                linestyle="none",
                label="truth",
            )
            continue
        for index in np.flatnonzero(row):
            _interval(axes, table, index, flat, looks[who].color)
        axes.plot(x, y, "x", markersize=6.5, markeredgewidth=1.8, color=looks[who].color, label=method_name(who))
    axes.set_xlim(-0.03 * reach, 1.03 * reach)
    bound = max(0.12 * reach, 1.15 * float(np.max(np.abs(table[flat]), initial=0.0)))
    axes.set_ylim(-bound, bound)
    tidy(axes, grid="both")


def _interval(axes: Axes, table: dict[str, np.ndarray], index: int, flat: str, color: str) -> None:
    """Two standard deviations as an ellipse: along the line of sight the range's, across it the angle's."""
    from matplotlib.patches import Ellipse

    angle_std = np.radians(table["azimuth_std_deg" if flat == "x_m" else "elevation_std_deg"][index])
    range_std = table["range_std_m"][index]
    if not (np.isfinite(angle_std) and np.isfinite(range_std)):
        return
    x, y, range_m = table["z_m"][index], table[flat][index], table["range_m"][index]
    along, across = (min(_SIGMAS * size, _LONGEST_M) for size in (range_std, range_m * angle_std))
    tilt = np.degrees(np.arctan2(y, x))
    axes.add_patch(Ellipse((x, y), 2 * along, 2 * across, angle=tilt, facecolor=color, alpha=0.18, linewidth=0))


def _few():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)
