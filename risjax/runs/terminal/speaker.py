"""The terminal: text, tables and progress bars, on a screen or in a file."""

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from risjax.runs.formatting import duration_text, rate_text, value_text
from risjax.runs.terminal.live import GrowingRows, Screen

_PLAIN_PERIOD_S = 60.0
"""Time between two lines of a bar that is not drawn."""


class Bar:
    """Progress of one piece of work, made by `Terminal.progress`."""

    def __init__(self, terminal: "Terminal", description: str, total: int, completed: int):
        self._terminal = terminal
        self._description = description
        self._total = total
        self._completed = self._begun_at = completed
        self._fields: dict[str, Any] = {}
        self._started = self._spoke = time.monotonic()
        self._task: Any = None

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Add ``n`` finished units; ``fields`` (loss=0.5, ...) are shown next to the bar until they change."""
        self._completed += n
        self._fields.update(fields)
        self._terminal._draw(self)

    def line(self) -> str:
        """Return the progress as one line: ``train  250/250  20.3/s  12 s  loss 0.41``."""
        elapsed = time.monotonic() - self._started
        done = self._completed - self._begun_at
        parts = [self._description, f"{self._completed}/{self._total}"]
        if done and elapsed > 0:
            parts.append(rate_text(done / elapsed))
        parts.append(duration_text(elapsed))
        if done and self._completed < self._total:
            parts.append(f"{duration_text(elapsed / done * (self._total - self._completed))} left")
        return "  ".join([*parts, *self._shown_fields()])

    def _shown_fields(self) -> list[str]:
        return [f"{name} {value_text(value)}" for name, value in self._fields.items()]


class GrowingTable:
    """Table that grows during a run, made by `Terminal.growing_table`."""

    def __init__(self, terminal: "Terminal", rows: GrowingRows):
        self._terminal, self._rows = terminal, rows

    def add(self, row: Mapping[str, Any], line: str | None, *, marked: bool = False) -> None:
        """Append a row.

        Args:
            row: its cells; the keys of the first row are the columns.
            line: text to print instead if nothing is drawn; None prints nothing.
            marked: move the mark to this row.
        """
        self._rows.append(row, marked)
        if line is not None and not self._terminal.is_drawn:
            self._terminal.say(line)


class Terminal:
    """Prints text and draws progress. A process has one terminal and passes it to its functions."""

    def __init__(self, quiet: bool = False, *, stream: io.TextIOBase | None = None):
        self.quiet = quiet
        self._stream: Any = sys.stdout if stream is None else stream
        self.is_drawn = not quiet and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._console = Console(file=self._stream, force_terminal=self.is_drawn, highlight=False)
        self._screen: Screen | None = None
        self._users_of_screen = 0

    def say(self, text: str = "", *, always: bool = False) -> None:
        """Print one or several lines of plain text; with ``always`` also under ``quiet``."""
        if always or not self.quiet:
            self._print(text)

    def warn(self, text: str) -> None:
        """Print a warning, also under ``quiet``."""
        self._print(f"warning: {text}")

    def show_compilation(self, program: str | None) -> None:
        """Name the program that is being compiled, below the bars or in a line; None ends it. Called by any thread."""
        screen, text = self._screen, f"compiling {program} ..." if program else ""
        if screen is not None:
            screen.note = text
        elif text:
            self.say(text)

    def rule(self, title: str) -> None:
        """Print a heading."""
        if self.is_drawn:
            with self._without_refresh():
                self._console.print(Rule(Text(title, style="bold"), align="left"))
        elif not self.quiet:
            self._print(f"== {title}")

    def table(self, title: str, rows: Sequence[dict[str, Any]], *, always: bool = False) -> None:
        """Print a table with the keys of the first row as its columns."""
        if (self.quiet and not always) or not rows:
            return
        columns = list(rows[0])
        cells = [[value_text(row.get(column, "")) for column in columns] for row in rows]
        if self.is_drawn:
            table = Table(title=Text(title, style="bold"), title_justify="left")
            for column in columns:
                table.add_column(Text(column))
            for line in cells:
                table.add_row(*map(Text, line))
            with self._without_refresh():
                self._console.print(table)
            return
        widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
        self._print(title)
        for line in [columns, *cells]:
            text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self._print(f"  {text}".rstrip())

    @contextlib.contextmanager
    def growing_table(self, title: str, *, mark: str, keep: Sequence[str] = ()) -> Iterator[GrowingTable]:
        """A table that grows during a ``with`` block; a line for each row if nothing is drawn.

        The last rows and the marked one are shown while it grows; at the end of the block, also after an exception, the
        whole table stays on the screen.

        Args:
            title: title of the table.
            mark: text next to the marked row.
            keep: columns that are shown on every screen; on a narrow one the last of the others is left out first.
        """
        rows = GrowingRows(title, mark, keep)
        with contextlib.ExitStack() as stack:
            if self.is_drawn:
                growing = stack.enter_context(self._live()).growing
                growing.append(rows)
                stack.callback(self._leave, rows, growing)
            yield GrowingTable(self, rows)

    def _leave(self, rows: GrowingRows, growing: list[GrowingRows]) -> None:
        table = rows.drawn(self._console)
        with self._without_refresh():
            growing.remove(rows)
            if table is not None:
                self._console.print(table)

    @contextlib.contextmanager
    def progress(self, description: str, total: int, *, completed: int = 0) -> Iterator[Bar]:
        """A progress bar during a ``with`` block; bars may be nested.

        Args:
            description: name of the work.
            total: number of steps.
            completed: number of steps finished before (a resumed run); they do not count towards the rate.
        """
        bar = Bar(self, description, total, completed)
        try:
            with contextlib.ExitStack() as stack:
                if self.is_drawn:
                    screen = stack.enter_context(self._live())
                    bar._task = screen.add_task(description, total=total, completed=completed, shown="")
                    stack.callback(screen.remove_task, bar._task)
                yield bar
        finally:
            if not self.quiet:
                self._print(bar.line())

    @contextlib.contextmanager
    def _live(self) -> Iterator[Screen]:
        """The live display, started by its first user and stopped by its last one."""
        if self._screen is None:
            self._screen = Screen(self._console)
            self._screen.start()
        self._users_of_screen += 1
        try:
            yield self._screen
        finally:
            self._users_of_screen -= 1
            if not self._users_of_screen:
                screen, self._screen = self._screen, None
                screen.stop()

    def _without_refresh(self) -> contextlib.AbstractContextManager[Any]:
        """A block without a refresh of the live display."""
        return contextlib.nullcontext() if self._screen is None else self._screen.lock

    def _print(self, text: str) -> None:
        # Console.print would break long lines at 80 columns if it does not know the width.
        if self._screen is not None:
            with self._without_refresh():
                self._console.print(Text(text), soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def _draw(self, bar: Bar) -> None:
        if self._screen is not None and bar._task is not None:
            shown = "  ".join(bar._shown_fields())
            self._screen.update(bar._task, completed=bar._completed, shown=shown)
        elif not self.quiet and time.monotonic() - bar._spoke > _PLAIN_PERIOD_S:
            bar._spoke = time.monotonic()
            self._print(bar.line())
