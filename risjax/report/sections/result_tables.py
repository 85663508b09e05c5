"""Tables that a stage wrote to its JSON file as ``{"tables": {title: rows}}``."""

from collections.abc import Iterator
from typing import Any

from risjax.report.blocks import Cell, TableBlock


def result_tables(result: dict[str, Any]) -> Iterator[TableBlock]:
    """Yield the tables of a result that have rows."""
    tables = result.get("tables")
    for title, rows in tables.items() if isinstance(tables, dict) else ():
        rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        if rows:
            columns = list(rows[0])
            cells = [[Cell(str(row.get(column, ""))) for column in columns] for row in rows]
            yield TableBlock([column.capitalize() for column in columns], cells, f"{title}.", text_columns=2)
