"""Tables of text: rows as the terminal, the report and Markdown take them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, str]
"""Columns by name; all rows of a table have the same."""


def interval_text(figure: Mapping[str, Any] | None, sign: str = "") -> str:
    """``0.808 [0.801, 0.815]`` of ``{value, low, high}``; ``-`` where there is none.

    Example:
        >>> interval_text({"value": 0.0148, "low": 0.0112, "high": 0.0199}, sign="+")
        '+0.015 [+0.011, +0.020]'
    """
    if not figure or figure["value"] is None:
        return "-"
    ends = ("-" if figure[end] is None else f"{figure[end]:{sign}.3f}" for end in ("low", "high"))
    return f"{figure['value']:{sign}.3f} [{', '.join(ends)}]"


def markdown_rows(rows: Sequence[Row]) -> Iterator[str]:
    """A Markdown table's lines."""
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|" + "---|" * len(rows[0])
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row.values()) + " |"
