"""The report of a run: one page that opens anywhere, and every figure as PNG with its numbers as CSV.

Reads the run directory and nothing else, and imports no jax. A part that the run does not have (no search, no
evaluation, a log cut short) is left out, and the page says so.
"""

from risjax.report.drawing import Drawing
from risjax.report.reading import Run, read_run
from risjax.report.write import write_report

__all__ = ["Drawing", "Run", "read_run", "write_report"]
