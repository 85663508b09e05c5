"""What a person sees while something runs: the package's only importer of rich.

On a terminal there are progress bars with rate and time left. Elsewhere (a file, a pipe, CI) every bar
becomes one plain line when it ends, and one a minute while it lasts, without control characters.
``quiet`` says nothing but warnings and what is said ``always``.
"""

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

_PLAIN_PERIOD_S = 60.0
"""How often a bar that nobody sees drawn says how far it is."""


class Bar:
    """The progress of one piece of work; `Terminal.progress` makes it."""

    def __init__(self, terminal: "Terminal", description: str, total: int, completed: int):
        self._terminal = terminal
        self._description = description
        self._total = total
        self._completed = self._begun_at = completed
        self._fields: dict[str, Any] = {}
        self._started = self._spoke = time.monotonic()
        self._task: Any = None

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Counts ``n`` more as done; ``fields`` (loss=0.5, ...) stand beside the bar until they change."""
        self._completed += n
        self._fields.update(fields)
        self._terminal._draw(self)

    def line(self) -> str:
        """How far it is, in one line: ``train  250/250  20.3/s  12 s  loss 0.41``."""
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


class Terminal:
    """Says things, draws progress. One for a process; every room is handed it."""

    def __init__(self, quiet: bool = False, *, stream: io.TextIOBase | None = None):
        self.quiet = quiet
        self._stream: Any = sys.stdout if stream is None else stream
        self.is_drawn = not quiet and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._console = Console(file=self._stream, force_terminal=self.is_drawn, highlight=False)
        self._progress: Progress | None = None
        self._bars = 0

    def say(self, text: str = "", *, always: bool = False) -> None:
        """One line (or several) of plain text; ``always`` says it under ``quiet`` too."""
        if always or not self.quiet:
            self._print(text)

    def warn(self, text: str) -> None:
        """A warning, also under ``quiet``."""
        self._print(f"warning: {text}")

    def rule(self, title: str) -> None:
        """A heading."""
        if self.is_drawn:
            self._console.print(Rule(Text(title, style="bold"), align="left"))
        elif not self.quiet:
            self._print(f"== {title}")

    def table(self, title: str, rows: Sequence[dict[str, Any]], *, always: bool = False) -> None:
        """A table with the keys of the first row as its columns."""
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
            self._console.print(table)
            return
        widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
        self._print(title)
        for line in [columns, *cells]:
            text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self._print(f"  {text}".rstrip())

    @contextlib.contextmanager
    def progress(self, description: str, total: int, *, completed: int = 0) -> Iterator[Bar]:
        """A bar for the time of a ``with`` block; bars may be nested.

        Args:
            description: what is being done.
            total: how many steps there are.
            completed: how many were done before (a resumed run); they do not count towards the rate.
        """
        bar = Bar(self, description, total, completed)
        if self.is_drawn:
            self._begin(bar)
        try:
            yield bar
        finally:
            self._end(bar)

    def _print(self, text: str) -> None:
        # Console.print would break long lines at 80 columns where it cannot see the width.
        if self._progress is not None:
            self._console.print(Text(text), soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def _begin(self, bar: Bar) -> None:
        if self._progress is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                _RateColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                TextColumn("{task.fields[shown]}"),
            )
            self._progress = Progress(*columns, console=self._console, speed_estimate_period=60.0)
            self._progress.start()
        self._bars += 1
        bar._task = self._progress.add_task(bar._description, total=bar._total, completed=bar._completed, shown="")

    def _draw(self, bar: Bar) -> None:
        if self._progress is not None and bar._task is not None:
            shown = "  ".join(bar._shown_fields())
            self._progress.update(bar._task, completed=bar._completed, shown=shown)
        elif not self.quiet and time.monotonic() - bar._spoke > _PLAIN_PERIOD_S:
            bar._spoke = time.monotonic()
            self._print(bar.line())

    def _end(self, bar: Bar) -> None:
        if self._progress is not None and bar._task is not None:
            self._progress.remove_task(bar._task)
            self._bars -= 1
            if self._bars == 0:
                self._progress.stop()
                self._progress = None
        if not self.quiet:
            self._print(bar.line())


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(rate_text(task.speed) if task.speed else "")


def rate_text(per_second: float | int) -> str:
    """``20.3/s``, or ``3.2 s each`` where it is slow."""
    return f"{per_second:.3g}/s" if per_second >= 1 else f"{1 / per_second:.3g} s each"


def duration_text(seconds: float | int) -> str:
    """A duration as a person says it: ``8 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    seconds = round(seconds)
    for (big, big_name), (small, small_name) in (
        ((86400, "d"), (3600, "h")),
        ((3600, "h"), (60, "min")),
        ((60, "min"), (1, "s")),
    ):
        if seconds >= big:
            rest = seconds % big // small
            return f"{seconds // big} {big_name}" + (f" {rest} {small_name}" if rest else "")
    return f"{seconds} s"


def value_text(value: Any) -> str:
    """A number in four digits, a dash for nothing, anything else as it is."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
