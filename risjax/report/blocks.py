"""What a section of the report is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from risjax.report.drawing import Drawing
from risjax.report.verdict import Verdict


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Missing:
    """A paragraph that says what is not there, and why."""

    kind: ClassVar[str] = "missing"
    text: str


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Cell:
    """A table's cell: a value, and what stands small behind it (an interval)."""

    value: str
    small: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Grid:
    """A table; the first column is text, the others are numbers."""

    kind: ClassVar[str] = "grid"
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    caption: str = ""
    text_columns: int = 1


@dataclass(frozen=True)
class Facts:
    """Names and values, in several columns."""

    kind: ClassVar[str] = "facts"
    title: str
    entries: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Details:
    """Text that is folded away: a configuration, for example."""

    kind: ClassVar[str] = "details"
    summary: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A figure."""

    kind: ClassVar[str] = "picture"
    drawing: Drawing


@dataclass(frozen=True)
class Verdicts:
    """Verdicts, one a baseline."""

    kind: ClassVar[str] = "verdicts"
    verdicts: Sequence[Verdict]


Block = Text | Missing | Heading | Grid | Facts | Details | Picture | Verdicts


@dataclass
class Section:
    """A section of the report.

    Attributes:
        anchor: its id in the page.
        title: its heading, and its name in the contents.
        blocks: what it holds, in order.
    """

    anchor: str
    title: str
    blocks: list[Block] = field(default_factory=list)

    def add(self, *blocks: Block | Drawing | None) -> "Section":
        """Appends blocks; a drawing becomes a picture, None is passed over."""
        for block in blocks:
            if isinstance(block, Drawing):
                self.blocks.append(Picture(block))
            elif block is not None:
                self.blocks.append(block)
        return self
