"""Results of the stages ``verify`` and ``audit``, if these stages ran."""

from collections.abc import Iterator
from typing import Any

from risjax.report.blocks import Cell, ReportSection, TableBlock, Text
from risjax.report.reading import Run


def checks_section(run: Run) -> Iterator[ReportSection]:
    """Yield the section of ``verify.json`` and ``audit.json``, if either exists."""
    checks = [entry for entry in run.verify.get("checks") or () if isinstance(entry, dict)]
    if not checks and not run.audit:
        return
    section = ReportSection("checks", "Checks")
    if checks:
        rows = [
            [Cell("✓" if entry.get("passed") else "✗", strong=True), str(entry.get("name")), str(entry.get("found"))]
            for entry in checks
        ]
        failed = sum(not entry.get("passed") for entry in checks)
        caption = "Checks on a short training run: " + (f"{failed} of {len(rows)} failed." if failed else "all passed.")
        section.add(TableBlock(("", "Check", "Result"), rows, caption, text_columns=3))
    if run.audit:
        section.add(*_audit(run.audit))
    yield section


def _audit(audit: dict[str, Any]) -> Iterator[Text | TableBlock]:
    violations = [entry for entry in audit.get("violations", audit.get("offences")) or () if isinstance(entry, dict)]
    if audit.get("clean"):
        yield Text(
            "Audit of the traced training step: all operations of the loss, forward and backward, use at least float32."
        )
    else:
        yield Text(f"Audit of the traced training step: {len(violations)} operations violate a precision rule.")
        rows = [[str(entry.get("message")), str(entry.get("source") or "")] for entry in violations]
        yield TableBlock(("Violation", "Location"), rows, text_columns=2)
    operations = [entry for entry in audit.get("operations") or () if isinstance(entry, dict)]
    if operations:
        columns = list(operations[0])
        rows = [[Cell(str(entry.get(column, ""))) for column in columns] for entry in operations]
        yield TableBlock(
            [column.capitalize() for column in columns],
            rows,
            "Operations of the training step.",
            text_columns=len(columns) - 1,
        )
