"""The stage ``report``."""

from pathlib import Path

from risjax.report.page import render_page
from risjax.report.reading import read_run
from risjax.report.sections import make_sections
from risjax.runs.run_directory import RunDirectory, write_atomically


def write_report(directory: RunDirectory) -> Path:
    """Writes ``report.html`` and ``figures/*.png`` with their ``*.csv`` from what lies in a run directory.

    Args:
        directory: of the run, finished or not.

    Returns:
        The page: self-contained, under 3 MB, no network.
    """
    run = read_run(directory)
    page = render_page(run, make_sections(run), directory.figures)
    write_atomically(directory.report_path, page)
    return directory.report_path
