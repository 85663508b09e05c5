"""A figure of the report: a table of numbers and a function that draws it.

A figure function takes numbers and returns a `Drawing`: a table, and a ``paint`` that draws only that table.
The CSV of a figure therefore contains exactly the numbers that the figure shows.

    drawing = loss_curves(steps)
    drawing.save(Path("figures"))            # loss.png and loss.csv
    drawing.figure()                         # a matplotlib figure
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from risjax.report.style import EMBEDDED_DPI, WIDTH_IN, styled

Table = Mapping[str, Sequence[Any] | np.ndarray]
"""Columns of equal length."""

_EXACT_COLOURS = 160


@dataclass(frozen=True)
class Drawing:
    """A figure before it is drawn.

    Attributes:
        name: stem of the file names.
        title: heading in the report.
        caption: what is drawn and how to read it, one or two sentences.
        table: the numbers, columns of equal length; ``paint`` reads nothing else.
        paint: draws the table on an empty figure, in the current style.
        height_in: height of the figure in inches.
        width_in: width of the figure in inches.
    """

    name: str
    title: str
    caption: str
    table: Table
    paint: Callable[[Figure], None]
    height_in: float = 3.0
    width_in: float = WIDTH_IN

    def __post_init__(self) -> None:
        lengths = {column: len(values) for column, values in self.table.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"figure {self.name!r} has columns of lengths {lengths}; expected columns of equal length")

    def figure(self) -> Figure:
        """Return the drawn matplotlib figure."""
        with styled():
            figure = Figure(figsize=(self.width_in, self.height_in))
            FigureCanvasAgg(figure)
            self.paint(figure)
            return figure

    def png(self, *, dpi: int = EMBEDDED_DPI) -> bytes:
        """Return the figure as a PNG with a palette of at most 256 colours, a third of the size of true colour."""
        with styled():
            figure = self.figure()
            figure.set_dpi(dpi)
            canvas = figure.canvas
            assert isinstance(canvas, FigureCanvasAgg)
            canvas.draw()
            return _compress(np.asarray(canvas.buffer_rgba())[..., :3])

    def csv(self) -> str:
        """Return the table as CSV, numbers in full precision; a missing or non-finite value is an empty cell."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.table)
        writer.writerows(zip(*(map(_cell, values) for values in self.table.values()), strict=True))
        return text.getvalue()

    def save(self, folder: Path) -> bytes:
        """Write ``<name>.png`` and ``<name>.csv`` and return the PNG."""
        folder.mkdir(parents=True, exist_ok=True)
        png = self.png()
        (folder / f"{self.name}.png").write_bytes(png)
        (folder / f"{self.name}.csv").write_text(self.csv(), encoding="utf-8")
        return png


def _compress(pixels: np.ndarray) -> bytes:
    """Encode with a palette: the most frequent colours exactly, 95 more for the anti-aliased blends between them."""
    from PIL import Image  # a dependency of matplotlib

    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    painted = packed != packed[0, 0]  # nine tenths of a figure are background, the colour of its corner
    colours, index, counts = np.unique(packed[painted], return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rest = colours[order[_EXACT_COLOURS:]]
    palette = _rgb(np.concatenate([packed[0, :1], colours[order[:_EXACT_COLOURS]]]))
    if rest.size:
        blends = Image.fromarray(_rgb(rest)[None]).quantize(255 - _EXACT_COLOURS, method=Image.Quantize.MAXCOVERAGE)
        palette = np.concatenate([palette, np.reshape(np.array(blends.getpalette(), np.uint8), (-1, 3))])
    # Pillow's mapping to a palette rounds to few bits (white becomes #fcfcfc), so the nearest colour is found here.
    distance = np.abs(_rgb(colours).astype(np.int16)[:, None] - palette.astype(np.int16)[None]).sum(-1)
    indices = np.zeros(packed.shape, np.uint8)
    indices[painted] = np.argmin(distance, axis=1).astype(np.uint8)[index]
    image = Image.fromarray(indices, mode="P")
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _rgb(packed: np.ndarray) -> np.ndarray:
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return repr(float(value)) if np.isfinite(value) else ""
    return str(value)
