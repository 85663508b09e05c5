"""The report's sections, in the order of the page; each is a function from a `Run` to a `Section` or several."""

from collections.abc import Callable, Iterable

from risjax.report.blocks import Section
from risjax.report.reading import Run
from risjax.report.sections.ablation import ablation_section
from risjax.report.sections.checks import checks_section
from risjax.report.sections.comparison import comparison_section
from risjax.report.sections.evaluation import evaluation_sections
from risjax.report.sections.limit import limit_section
from risjax.report.sections.overview import run_section, verdict_section
from risjax.report.sections.search import search_section
from risjax.report.sections.training import training_section

SECTIONS: tuple[Callable[[Run], Iterable[Section]], ...] = (
    verdict_section,
    run_section,
    checks_section,
    comparison_section,
    training_section,
    search_section,
    evaluation_sections,
    limit_section,
    ablation_section,
)
"""A later room's section is added here."""


def make_sections(run: Run) -> list[Section]:
    """All sections of a run's report; one without data says so."""
    return [section for make in SECTIONS for section in make(run)]
