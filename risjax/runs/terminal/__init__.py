"""What a person sees while something runs: the package's only importer of rich.

On a terminal there are progress bars with rate and time left, and a table that grows an epoch at a time. Elsewhere (a
file, a pipe, CI) every bar becomes one plain line when it ends, and one a minute while it lasts, a table's row is a
line, and there are no control characters. ``quiet`` says nothing but warnings and what is said ``always``.
"""

from risjax.runs.terminal.speaker import Bar, GrowingTable, Terminal

__all__ = ["Bar", "GrowingTable", "Terminal"]
