"""The comparison with the PyTorch baseline, where the stage ``compare`` ran."""

from collections.abc import Iterator
from typing import Any

from risjax.report.blocks import Cell, Facts, Grid, Section
from risjax.report.figures import compared_losses
from risjax.report.reading import Run


def comparison_section(run: Run) -> Iterator[Section]:
    """What ``compare.json`` says; no section where there is none."""
    if not run.compare:
        return
    section = Section("comparison", "risjax and PyTorch")
    section.add(Facts("What was run", _facts(run.compare)))
    runs = run.compare.get("runs")
    section.add(compared_losses(runs) if isinstance(runs, dict) else None)
    tables = run.compare.get("tables")
    for title, rows in tables.items() if isinstance(tables, dict) else ():
        section.add(_grid(title, rows))
    yield section


def _facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    facts = []
    for part in ("setting", "versions"):
        values = result.get(part)
        for name, value in values.items() if isinstance(values, dict) else ():
            if value is not None:
                facts.append((str(name).replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value)))
    return facts


def _grid(title: str, rows: Any) -> Grid | None:
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not rows:
        return None
    columns = list(rows[0])
    cells = [[Cell(str(row.get(column, ""))) for column in columns] for row in rows]
    return Grid([column.capitalize() for column in columns], cells, f"{title}.", text_columns=2)
