"""Examples on the pages of the documentation run and print what they show."""

import doctest
import re
from pathlib import Path

import pytest

import risjax

REPOSITORY = Path(risjax.__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [page for page in sorted(REPOSITORY.glob("docs/*.md")) if _BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page(page: Path) -> None:
    """All blocks of a page in order, in one namespace."""
    text = "\n".join(_BLOCK.findall(page.read_text()))
    examples = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(examples).failed == 0


def test_there_are_pages_with_examples() -> None:
    assert len(PAGES) >= 1
