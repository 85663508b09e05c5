"""Stage ``report``."""

from pathlib import Path

from risjax.report.page import render_page
from risjax.report.reading import read_run
from risjax.report.sections import make_sections
from risjax.runs.run_directory import RunDirectory, write_atomically


def write_report(directory: RunDirectory) -> Path:
    """Write ``report.html`` and the figures as PNG and CSV from the content of a run directory.

    Args:
        directory: the run directory; the run may be unfinished.

    Returns:
        Path of the page. It is self-contained, smaller than 3 MB and does not use the network.
    """
    run = read_run(directory)
    page = render_page(run, make_sections(run), directory.figures)
    write_atomically(directory.report_path, page)
    return directory.report_path
