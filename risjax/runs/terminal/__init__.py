"""Terminal output of a run; only this package imports rich.

A terminal shows progress bars with rate and remaining time, and a table that grows with each epoch. Otherwise (a file,
a pipe, CI) every bar becomes a plain line when it ends and once a minute before, a table's row is a line, and there are
no control characters. With ``quiet`` only warnings and the output with ``always`` are printed.
"""

from risjax.runs.terminal.speaker import Bar, GrowingTable, Terminal

__all__ = ["Bar", "GrowingTable", "Terminal"]
