"""What any estimator could reach, where the stage ``limit`` ran."""

from collections.abc import Iterator

from risjax.report.blocks import Section, Text
from risjax.report.reading import Run
from risjax.report.sections.tables import grids


def limit_section(run: Run) -> Iterator[Section]:
    """What ``limit.json`` says; no section where there is none."""
    if not run.limit:
        return
    section = Section("limit", "The Bayes limit")
    section.add(
        Text(
            "The posterior of single scenes under the simulator's own laws, sampled by brute force. Each decision is "
            "the best one for its own metric; a method that is better than that by more than the interval has seen "
            "what it may not see."
        )
    )
    section.add(*grids(run.limit))
    yield section
