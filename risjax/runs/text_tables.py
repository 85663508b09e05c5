"""Tables of text for the terminal, the report and Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, str]
"""Cells by column name; all rows of a table have the same columns."""


def interval_text(figure: Mapping[str, Any] | None, sign: str = "") -> str:
    """Format ``{value, low, high}`` as ``0.808 [0.801, 0.815]``; a missing number is ``-``.

    Example:
        >>> interval_text({"value": 0.0148, "low": 0.0112, "high": 0.0199}, sign="+")
        '+0.015 [+0.011, +0.020]'
    """
    if not figure or figure["value"] is None:
        return "-"
    ends = ("-" if figure[end] is None else f"{figure[end]:{sign}.3f}" for end in ("low", "high"))
    return f"{figure['value']:{sign}.3f} [{', '.join(ends)}]"


def markdown_rows(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|" + "---|" * len(rows[0])
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row.values()) + " |"
