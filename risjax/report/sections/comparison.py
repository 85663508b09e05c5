"""The comparison with the PyTorch baseline, where the stage ``compare`` ran."""

from collections.abc import Iterator
from typing import Any

from risjax.report.blocks import Facts, Section
from risjax.report.figures import compared_losses
from risjax.report.reading import Run
from risjax.report.sections.tables import grids


def comparison_section(run: Run) -> Iterator[Section]:
    """What ``compare.json`` says; no section where there is none."""
    if not run.compare:
        return
    section = Section("comparison", "risjax and PyTorch")
    section.add(Facts("What was run", _facts(run.compare)))
    runs = run.compare.get("runs")
    section.add(compared_losses(runs) if isinstance(runs, dict) else None)
    section.add(*grids(run.compare))
    yield section


def _facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    facts = []
    for part in ("setting", "versions"):
        values = result.get(part)
        for name, value in values.items() if isinstance(values, dict) else ():
            if value is not None:
                facts.append((str(name).replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value)))
    return facts
