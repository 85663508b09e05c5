"""The live display at the bottom of a terminal: progress bars, and growing tables above them."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from risjax.runs.formatting import rate_text, value_text

MOST_ROWS = 12
"""Rows of a growing table that are shown while it grows; a screen of few lines shows fewer."""

_PERIOD_S = 0.1
"""Time between two refreshes."""

_FRAME_LINES = 8
"""Lines of a growing table besides its rows: title, two of headings, rule, line under the marked row, three blank."""


class GrowingRows:
    """Rows of a growing table, one of them marked.

    Args:
        title: title of the table.
        mark: text next to the marked row.
        keep: columns that are shown on every screen; on a narrow one the last of the others is left out first.
    """

    def __init__(self, title: str, mark: str, keep: Sequence[str] = ()):
        self._title, self._mark, self._keep = title, mark, tuple(keep)
        self._rows: list[dict[str, str]] = []
        self._marked = -1
        self._picture: tuple[Any, Segments] | None = None

    def append(self, row: Mapping[str, Any], marked: bool) -> None:
        """Append a row; the keys of the first row are the columns, with a line for each word of a heading.

        ``marked`` moves the mark to this row.
        """
        self._rows.append({name: value_text(value) for name, value in row.items()})
        self._marked = len(self._rows) - 1 if marked else self._marked

    def drawn(self, console: Console, most: int | None = None) -> Table | None:
        """Return a table of all rows, or of the last ``most`` with the marked one above them; None without rows."""
        if not self._rows:
            return None
        columns, endless = list(self._rows[0]), console.options.update_width(10_000)
        table = self._of(columns, most)
        for name in reversed([column for column in columns if column not in self._keep]):
            if console.measure(table, options=endless).maximum <= console.width:
                break
            columns.remove(name)
            table = self._of(columns, most)
        return table

    def picture(self, console: Console, most: int) -> Segments:
        """Return the rendered table, cached until its content changes: rendering it ten times a second would take a
        tenth of a core from the running work."""
        state = len(self._rows), self._marked, most, console.width
        if self._picture is None or self._picture[0] != state:
            table = self.drawn(console, most)
            self._picture = state, Segments([] if table is None else console.render(table))
        return self._picture[1]

    def _of(self, columns: list[str], most: int | None) -> Table:
        count = len(self._rows)
        first = 0 if most is None else max(0, count - most)
        shown = list(range(first, count))
        if 0 <= self._marked < first:
            shown = [self._marked, *shown[1:]]
        table = Table(title=Text(self._title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=0)
        for name in columns:
            table.add_column(Text(name.replace(" ", "\n")), justify="right", vertical="bottom")
        table.add_column("")
        for index in shown:
            marked = index == self._marked
            cells = [Text(self._rows[index].get(name, "")) for name in columns]
            table.add_row(
                *cells,
                Text(self._mark if marked else ""),
                style="bold" if marked else None,
                end_section=marked and index < first,
            )
        return table


class Screen(Progress):
    """Live display of tables above bars, removed from the terminal at its end. A terminal allows one live display.

    Printing above it requires its ``lock``: if the display changes its height during a print, rich (15.0) moves the
    cursor by the old height and erases earlier lines.
    """

    def __init__(self, console: Console):
        # (the constructor of Progress calls get_renderables)
        self.growing: list[GrowingRows] = []
        self.note = ""
        self._where = console
        self.lock = threading.RLock()
        self._ended = threading.Event()
        self._redrawing = threading.Thread(target=self._redraw, daemon=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[shown]}"),
        )
        super().__init__(*columns, console=console, speed_estimate_period=60.0, transient=True, auto_refresh=False)

    def start(self) -> None:
        """Start drawing."""
        super().start()
        self._redrawing.start()

    def stop(self) -> None:
        """Stop drawing and show the cursor again."""
        self._ended.set()
        if self._redrawing.ident is not None:
            self._redrawing.join()
        super().stop()

    def _redraw(self) -> None:
        while not self._ended.wait(_PERIOD_S):
            with self.lock:
                self.refresh()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the parts of the display from top to bottom."""
        free_lines = self._where.height - _FRAME_LINES - len(self.tasks)
        for rows in self.growing if free_lines > 0 else ():
            yield rows.picture(self._where, min(MOST_ROWS, free_lines))
        yield self.make_tasks_table(self.tasks)
        if self.note:
            yield Text(self.note)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(rate_text(task.speed) if task.speed else "")
