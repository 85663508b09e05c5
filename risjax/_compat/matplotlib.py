"""Matplotlib: the grid lines of axes in three dimensions (Matplotlib 3.10 to 3.11).

``Axes3D.grid`` ignores colour and line width.
"""

from typing import Any


def style_grid(axis: Any, *, color: str, linewidth: float) -> None:
    """Set colour and line width (points) of the grid lines of one axis of an ``Axes3D``."""
    axis._axinfo["grid"] |= {"color": color, "linewidth": linewidth}
