"""The checklist of ``verify`` and the proof of ``audit``, where these stages ran."""

from collections.abc import Iterator
from typing import Any

from risjax.report.blocks import Cell, Grid, Section, Text
from risjax.report.reading import Run


def checks_section(run: Run) -> Iterator[Section]:
    """What ``verify.json`` and ``audit.json`` say; no section where neither is there."""
    checks = [entry for entry in run.verify.get("checks") or () if isinstance(entry, dict)]
    if not checks and not run.audit:
        return
    section = Section("checks", "Checks")
    if checks:
        rows = [
            [Cell("✓" if entry.get("passed") else "✗", strong=True), str(entry.get("name")), str(entry.get("found"))]
            for entry in checks
        ]
        failed = sum(not entry.get("passed") for entry in checks)
        caption = "The checklist of a short run: " + (f"{failed} of {len(rows)} failed." if failed else "all passed.")
        section.add(Grid(("", "Check", "Found"), rows, caption, text_columns=3))
    if run.audit:
        section.add(*_audit(run.audit))
    yield section


def _audit(audit: dict[str, Any]) -> Iterator[Text | Grid]:
    violations = [entry for entry in audit.get("violations", audit.get("offences")) or () if isinstance(entry, dict)]
    if audit.get("clean"):
        yield Text(
            "The traced training step was audited: no operation of the loss, forward or backward, is below float32."
        )
    else:
        yield Text(f"The traced training step was audited and {len(violations)} operations break a rule.")
        rows = [[str(entry.get("message")), str(entry.get("source") or "")] for entry in violations]
        yield Grid(("What", "Where"), rows, text_columns=2)
    operations = [entry for entry in audit.get("operations") or () if isinstance(entry, dict)]
    if operations:
        columns = list(operations[0])
        rows = [[Cell(str(entry.get(column, ""))) for column in columns] for entry in operations]
        yield Grid(
            [column.capitalize() for column in columns], rows, "Operations of the step.", text_columns=len(columns) - 1
        )
