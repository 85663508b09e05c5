"""Bayes limit of estimation, if the stage ``limit`` ran."""

from collections.abc import Iterator

from risjax.report.blocks import ReportSection, Text
from risjax.report.reading import Run
from risjax.report.sections.result_tables import result_tables


def limit_section(run: Run) -> Iterator[ReportSection]:
    """Yield the section of ``limit.json``, if the file exists."""
    if not run.limit:
        return
    section = ReportSection("limit", "Bayes limit")
    section.add(
        Text(
            "The posterior of single scenes is sampled under the distributions of the simulator. Each decision is "
            "optimal for its metric. A method that exceeds it by more than the interval uses information that is not "
            "in the measurements."
        )
    )
    section.add(*result_tables(run.limit))
    yield section
