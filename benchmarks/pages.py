"""Rewrite the generated tables of a documentation page: only the text between two marks changes."""

import re
from collections.abc import Mapping
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def rewrite(page: str, blocks: Mapping[str, str]) -> None:
    """Put each text between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` of a page of ``docs/``.

    Raises:
        SystemExit: a name does not have exactly one pair of marks; nothing was changed.
    """
    path = DOCS / page
    text = path.read_text(encoding="utf-8")
    for name, content in blocks.items():
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda marks, content=content: f"{marks[1]}{content.rstrip()}\n{marks[2]}", text)
        if count != 1:
            raise SystemExit(f"{path} should have one pair of marks {name!r}, found {count}")
    path.write_text(text, encoding="utf-8")
