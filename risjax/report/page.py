"""From sections to one self-contained page: figures embedded, within a budget of bytes."""

import base64
import datetime
import html
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from risjax.report.blocks import Picture, Section
from risjax.report.reading import Run

BUDGET_BYTES = 2_800_000
"""What a page's pictures may take; a page stays under 3 MB."""


def render_page(run: Run, sections: Sequence[Section], figures: Path) -> str:
    """Writes every figure as PNG and CSV into ``figures`` and returns the page with them embedded.

    Where the pictures would exceed `BUDGET_BYTES`, those from there to the end of the page become links to their
    files.
    """
    drawings = [block.drawing for section in sections for block in section.blocks if isinstance(block, Picture)]
    pictures: dict[str, str] = {}
    room = BUDGET_BYTES
    for drawing in drawings:
        encoded = base64.b64encode(drawing.save(figures)).decode("ascii")
        room -= len(encoded)
        if room >= 0:
            pictures[drawing.name] = encoded
    return _template().render(
        name=run.path.resolve().name,
        written=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        sections=sections,
        pictures=pictures,
        figures=figures.name,
        environment=run.environment,
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("risjax.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template("report.html.j2")


def _breakable(text: str) -> Markup:
    """Lets long dotted paths break after their dots."""
    return Markup(html.escape(text).replace(".", ".<wbr>").replace("_", "_<wbr>"))
