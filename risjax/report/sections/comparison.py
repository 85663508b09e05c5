"""Comparison with the PyTorch baseline, if the stage ``compare`` ran."""

from collections.abc import Iterator
from typing import Any

from risjax.report.blocks import PropertyList, ReportSection
from risjax.report.figures import compared_losses
from risjax.report.reading import Run
from risjax.report.sections.result_tables import result_tables


def comparison_section(run: Run) -> Iterator[ReportSection]:
    """Yield the section of ``compare.json``, if the file exists."""
    if not run.compare:
        return
    section = ReportSection("comparison", "risjax and PyTorch")
    section.add(PropertyList("Settings and versions", _facts(run.compare)))
    runs = run.compare.get("runs")
    section.add(compared_losses(runs) if isinstance(runs, dict) else None)
    section.add(*result_tables(run.compare))
    yield section


def _facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    facts = []
    for part in ("setting", "versions"):
        values = result.get(part)
        for name, value in values.items() if isinstance(values, dict) else ():
            if value is not None:
                facts.append((str(name).replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value)))
    return facts
