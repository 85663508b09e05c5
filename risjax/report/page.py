"""Render sections as a self-contained HTML page with embedded figures, within a size limit."""

import base64
import datetime
import html
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from risjax.report.blocks import FigureBlock, ReportSection
from risjax.report.reading import Run

FIGURE_BUDGET_BYTES = 2_800_000
"""Maximum total size of the embedded figures; keeps a page under 3 MB."""


def render_page(run: Run, sections: Sequence[ReportSection], figures: Path) -> str:
    """Write every figure as PNG and CSV into ``figures`` and return the page with the figures embedded.

    The first figure that would exceed `FIGURE_BUDGET_BYTES` and all later ones are linked instead.
    """
    drawings = [block.drawing for section in sections for block in section.blocks if isinstance(block, FigureBlock)]
    pictures: dict[str, str] = {}
    remaining_bytes = FIGURE_BUDGET_BYTES
    for drawing in drawings:
        encoded = base64.b64encode(drawing.save(figures)).decode("ascii")
        remaining_bytes -= len(encoded)
        if remaining_bytes >= 0:
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
    """Allow line breaks in long dotted paths."""
    return Markup(html.escape(text).replace(".", ".<wbr>").replace("_", "_<wbr>"))
