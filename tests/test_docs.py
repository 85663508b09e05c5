"""Documentation: generated pages, links, and names of tests and scripts."""

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import risjax

REPOSITORY = Path(risjax.__file__).resolve().parents[1]
PAGES = sorted([*REPOSITORY.glob("docs/*.md"), *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md"))])


def generator() -> ModuleType:
    path = REPOSITORY / "docs" / "generate_configuration.py"
    spec = importlib.util.spec_from_file_location("generate_configuration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_configuration_page_matches_the_schema() -> None:
    module = generator()
    assert module.PAGE.read_text() == module.page(), "run python docs/generate_configuration.py"


def test_every_setting_has_a_description() -> None:
    undocumented = [line for line in generator().page().splitlines() if line.endswith("|  |")]
    assert not undocumented


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_and_scripts_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    for script in re.findall(r"python ((?:benchmarks|docs)/\w+\.py)", text):
        assert (REPOSITORY / script).is_file(), script
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        tree = ast.parse((REPOSITORY / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"


def test_every_page_is_in_the_sites_contents() -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text()
    named = set(re.findall(r"[\w-]+\.md$", text, re.MULTILINE))
    assert {page.name for page in REPOSITORY.glob("docs/*.md")} <= named


def test_the_citation_is_complete_and_of_this_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation), "what CFF 1.2.0 requires"
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": "The risjax contributors"}]
    assert citation["version"] == risjax.__version__
