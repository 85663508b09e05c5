"""View of one scene: surface, true sources and estimates."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from risjax._compat.matplotlib import style_grid
from risjax.report.display_names import method_name
from risjax.report.drawing import Drawing
from risjax.report.style import GRID, LINE, MUTED, TEXT, SeriesStyle, method_styles, tidy

_SIGMAS = 2.0
_TRUTH = "truth"
_RING = {"marker": "o", "markersize": 9.5, "markerfacecolor": "none", "markeredgewidth": 1.5, "color": TEXT}
_MARKS = (
    {"marker": "x", "markersize": 6.5, "markeredgewidth": 1.9, "linestyle": "none"},
    {"marker": "+", "markersize": 8.5, "markeredgewidth": 1.7, "linestyle": "none"},
    {"marker": "D", "markersize": 5.0, "markeredgewidth": 1.3, "markerfacecolor": "none", "linestyle": "none"},
)
_VIEW = (20, -62)  # elevation and azimuth of the camera, degrees
_MARGIN_DEG = 5.0


class Points(NamedTuple):
    """Sources or estimates of one scene.

    Attributes:
        position: (azimuth [rad], elevation [rad], range [m]), [n, 3].
        std: standard deviations in the same units, [n, 3]; not finite if unknown. None for the truth.
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
    field_of_view_deg: tuple[tuple[float, float], tuple[float, float]] = ((-60.0, 60.0), (-30.0, 30.0)),
) -> Drawing:
    """Plot a scene in space, in direction (azimuth and elevation) and in range.

    True sources are rings; each method has its own marker. Bars show two standard deviations if the method estimates
    them, and in space an ellipsoid of two standard deviations, usually elongated along the line of sight because
    range is the least certain coordinate. The surface is at the origin and faces along boresight.

    Args:
        truth: true sources; empty if unknown.
        estimates: estimates of each method, in the order of the legend.
        name: name of the figure.
        title: heading.
        caption: description of the scene and the result.
        max_range_m: upper limit of the range axis; by default the range of the farthest source.
        field_of_view_deg: bounds of azimuth and of elevation.
    """
    table = _table([(_TRUTH, truth), *estimates.items()])
    reach = max_range_m or float(np.max(truth.position[..., 2], initial=1.0))

    def paint(figure: Figure) -> None:
        styles = method_styles(list(estimates))
        grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.02), height_ratios=(1.15, 1))
        space: Any = figure.add_subplot(grid[:, 0], projection="3d", computed_zorder=False)
        direction = figure.add_subplot(grid[0, 1])
        distance = figure.add_subplot(grid[1, 1], sharex=direction)
        _space(space, table, styles, reach)
        _plane(direction, table, styles, "elevation")
        _plane(distance, table, styles, "range")
        azimuth, elevation = field_of_view_deg
        direction.set_xlim(azimuth[0] - _MARGIN_DEG, azimuth[1] + _MARGIN_DEG)
        direction.set_ylim(elevation[0] - _MARGIN_DEG, elevation[1] + _MARGIN_DEG)
        distance.set_ylim(0, 1.08 * reach)
        direction.set_ylabel("elevation (°)")
        direction.tick_params(labelbottom=False)
        distance.set_ylabel("range (m)")
        distance.set_xlabel("azimuth (°)")
        handles, labels = direction.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))

    return Drawing(name, title, caption, table, paint, height_in=4.0)


def _table(entries: Sequence[tuple[str, Points]]) -> dict[str, np.ndarray]:
    label = np.concatenate([[label] * len(points.position) for label, points in entries])
    position = np.concatenate([np.reshape(points.position, (-1, 3)) for _, points in entries]).astype(float)
    std = np.concatenate(
        [np.full((len(p.position), 3), np.nan) if p.std is None else np.reshape(p.std, (-1, 3)) for _, p in entries]
    ).astype(float)
    azimuth, elevation, range_m = position.T
    x_m, y_m, z_m = _cartesian(azimuth, elevation, range_m)
    return {
        "label": label,
        "azimuth_deg": np.degrees(azimuth),
        "elevation_deg": np.degrees(elevation),
        "range_m": range_m,
        "azimuth_std_deg": np.degrees(std[:, 0]),
        "elevation_std_deg": np.degrees(std[:, 1]),
        "range_std_m": std[:, 2],
        "x_m": x_m,
        "y_m": y_m,
        "z_m": z_m,
    }


def _cartesian(azimuth: np.ndarray, elevation: np.ndarray, range_m: np.ndarray) -> np.ndarray:
    """Return the horizontal, vertical and boresight coordinates."""
    return range_m * np.stack(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )


def _ellipsoid(table: dict[str, np.ndarray], row: int, reach: float) -> np.ndarray | None:
    """Return a mesh (horizontal, vertical, boresight) at two standard deviations in azimuth, elevation and range.

    Returns None if one of the standard deviations is unknown.
    """
    spread = np.array([table[name][row] for name in ("azimuth_std_deg", "elevation_std_deg", "range_std_m")])
    if not np.isfinite(spread).all():
        return None
    around, along = np.meshgrid(np.linspace(0, 2 * np.pi, 13), np.linspace(0, np.pi, 13))
    sphere = np.stack([np.sin(along) * np.cos(around), np.sin(along) * np.sin(around), np.cos(along)])
    names = ("azimuth_deg", "elevation_deg", "range_m")
    centre = np.array([table[name][row] for name in names])
    azimuth, elevation, range_m = centre[:, None, None] + _SIGMAS * spread[:, None, None] * sphere
    return _cartesian(np.radians(azimuth), np.radians(elevation), np.clip(range_m, 0, 1.1 * reach))


def _space(axes: Any, table: dict[str, np.ndarray], styles: dict[str, SeriesStyle], reach: float) -> None:
    """Draw the scene in space: boresight to the right, horizontal into the page, vertical up; clip points outside."""
    half, floor, wide = 0.08 * reach, -0.5 * reach, 0.87 * reach
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * half
    axes.plot(np.zeros(5), corners[:, 0], corners[:, 1], color=TEXT, linewidth=1.4)
    axes.plot([0, reach], [0, 0], [0, 0], color=MUTED, linewidth=0.8, linestyle=":")
    ahead, across, up = table["z_m"], table["x_m"], table["y_m"]
    inside = (ahead >= 0) & (ahead <= reach) & (np.abs(across) <= wide) & (np.abs(up) <= -floor)
    marks = dict(zip(styles, itertools.cycle(_MARKS), strict=False))
    for label in (_TRUTH, *styles):
        for i in np.flatnonzero((table["label"] == label) & inside).tolist():
            if label == _TRUTH:
                axes.plot([ahead[i]] * 2, [across[i]] * 2, [floor, up[i]], color=LINE, linewidth=0.8)
                axes.plot([ahead[i]], [across[i]], [floor], marker=".", color=LINE, markersize=3)
                axes.plot([ahead[i]], [across[i]], [up[i]], **_RING)
                continue
            mesh = _ellipsoid(table, i, reach)
            if mesh is not None:
                color = styles[label].color
                axes.plot_surface(mesh[2], mesh[0], mesh[1], color=color, alpha=0.25, edgecolor=color, linewidth=0.4)
            axes.plot([ahead[i]], [across[i]], [up[i]], color=styles[label].color, **marks[label])
    axes.set(xlim=(0, reach), ylim=(-wide, wide), zlim=(floor, -floor))
    axes.set_box_aspect((reach, 2 * wide, -2 * floor), zoom=1.2)
    axes.view_init(*_VIEW)
    axes.set_xlabel("boresight (m)")
    axes.set_ylabel("horizontal (m)")
    axes.set_zlabel("vertical (m)")
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((0, 0, 0, 0))
        style_grid(axis, color=GRID, linewidth=0.7)
        axis.line.set_color(LINE)
        axis.set_major_locator(MaxNLocator(4))
        axis.labelpad = -1
    axes.tick_params(pad=0)
    axes.tick_params(axis="z", pad=3)


def _plane(axes: Axes, table: dict[str, np.ndarray], styles: dict[str, SeriesStyle], upright: str) -> None:
    """Draw elevation or range against azimuth, with bars of two standard deviations."""
    column, spread = {
        "elevation": ("elevation_deg", "elevation_std_deg"),
        "range": ("range_m", "range_std_m"),
    }[upright]
    marks = dict(zip(styles, itertools.cycle(_MARKS), strict=False))
    for label in (_TRUTH, *styles):
        row = table["label"] == label
        x, y = table["azimuth_deg"][row], table[column][row]
        if label == _TRUTH:
            axes.plot(x, y, linestyle="none", label=_TRUTH if len(x) else "_unknown", **_RING)
            continue
        dx, dy = (
            np.nan_to_num(_SIGMAS * table[name][row], nan=0.0, posinf=0.0) for name in ("azimuth_std_deg", spread)
        )
        color = styles[label].color
        axes.errorbar(x, y, yerr=dy, xerr=dx, fmt="none", ecolor=color, elinewidth=1.2, alpha=0.7)
        axes.plot(x, y, label=method_name(label), color=color, **marks[label])
    tidy(axes, grid="both")
