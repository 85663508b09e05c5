"""Sections of the report, in page order; each function returns the sections for a `Run`."""

from collections.abc import Callable, Iterable

from risjax.report.blocks import ReportSection
from risjax.report.reading import Run
from risjax.report.sections.ablation import ablation_section
from risjax.report.sections.checks import checks_section
from risjax.report.sections.comparison import comparison_section
from risjax.report.sections.evaluation import evaluation_sections
from risjax.report.sections.overview import baselines_section, run_section
from risjax.report.sections.search import search_section
from risjax.report.sections.stage_results import code_design_section, limit_section, tuning_section
from risjax.report.sections.training import training_section

SECTIONS: tuple[Callable[[Run], Iterable[ReportSection]], ...] = (
    baselines_section,
    run_section,
    checks_section,
    comparison_section,
    training_section,
    search_section,
    tuning_section,
    evaluation_sections,
    limit_section,
    code_design_section,
    ablation_section,
)
"""Functions that make the sections, in page order; a new section is added here."""


def make_sections(run: Run) -> list[ReportSection]:
    """Return all sections of the report of a run."""
    return [section for make in SECTIONS for section in make(run)]
