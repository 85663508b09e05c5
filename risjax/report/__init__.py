"""Report of a run: a self-contained HTML page, and every figure as PNG with its numbers as CSV.

Reads only the run directory and does not import jax. Parts that the run does not have (no search, no evaluation, an
incomplete log) are omitted, with a note on the page.
"""

from risjax.report.drawing import Drawing
from risjax.report.reading import Run, read_run
from risjax.report.stage import write_report

__all__ = ["Drawing", "Run", "read_run", "write_report"]
