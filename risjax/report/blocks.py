"""Building blocks of a report section: text, tables, figures, notes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from risjax.report.baselines import Comparison
from risjax.report.drawing import Drawing


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Notice:
    """A note on data that are missing or damaged, and the reason."""

    kind: ClassVar[str] = "notice"
    text: str


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Cell:
    """A table cell: a value, followed by an interval in small print."""

    value: str
    small: str = ""
    strong: bool = False


@dataclass(frozen=True)
class TableBlock:
    """A table; the first column is text, the others are numbers."""

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    caption: str = ""
    text_columns: int = 1


@dataclass(frozen=True)
class PropertyList:
    """A titled list of names and values, laid out in several columns."""

    kind: ClassVar[str] = "properties"
    title: str
    entries: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class CollapsedText:
    """Text that the reader can expand, such as the configuration."""

    kind: ClassVar[str] = "collapsed"
    summary: str
    text: str


@dataclass(frozen=True)
class FigureBlock:
    """A figure."""

    kind: ClassVar[str] = "figure"
    drawing: Drawing


@dataclass(frozen=True)
class ComparisonList:
    """One comparison for each baseline."""

    kind: ClassVar[str] = "comparisons"
    comparisons: Sequence[Comparison]


Block = Text | Notice | Heading | TableBlock | PropertyList | CollapsedText | FigureBlock | ComparisonList


@dataclass
class ReportSection:
    """A section of the report.

    Attributes:
        anchor: id in the page.
        title: heading, also used in the table of contents.
        blocks: content, in order.
    """

    anchor: str
    title: str
    blocks: list[Block] = field(default_factory=list)

    def add(self, *blocks: Block | Drawing | None) -> "ReportSection":
        """Append blocks; a drawing is wrapped in a `FigureBlock`, None is ignored."""
        for block in blocks:
            if isinstance(block, Drawing):
                self.blocks.append(FigureBlock(block))
            elif block is not None:
                self.blocks.append(block)
        return self
