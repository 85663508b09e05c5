"""Documentation: generated pages, links, and names of tests and scripts."""

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import risjax
from risjax.config import Config
from risjax.config.deprecated import DEPRECATED, Removed
from risjax.config.errors import setting_paths

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


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings as mkdocs forms them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_headings_exist(page: Path) -> None:
    for name, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)]+)\)", page.read_text()):
        target = page.parent / name if name else page
        assert anchor in _anchors(target), f"{target.name}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_and_scripts_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    for script in re.findall(r"python ((?:benchmarks|docs)/\w+\.py)", text):
        assert (REPOSITORY / script).is_file(), script
    for path in re.findall(r"(?<![\w/.])tests/[\w/]+(?:\.py)?", text):
        assert (REPOSITORY / path).exists(), path
    for module in re.findall(r"python -m (risjax[\w.]*)", text):
        assert _is_defined(module), module
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        tree = ast.parse((REPOSITORY / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"


def _functions(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_by_the_beginning_of_their_name_exist(page: Path) -> None:
    """``test_file::test_begins_with…``, or ``…contains…`` of the file named before."""
    last: list[Path] = []
    for code in re.findall(r"`([^`\n]+)`", page.read_text()):
        if match := re.fullmatch(r"(?:[\w/]*/)?(test_\w+)(?:\.py)?(?:::(\w+)(…?))?", code):
            last = list((REPOSITORY / "tests").rglob(f"{match[1]}.py"))
            assert last, code
            names = set().union(*map(_functions, last))
            begins = [name for name in names if name.startswith(match[2] or "")]
            assert begins if match[3] else not match[2] or match[2] in names, code
        elif match := re.fullmatch(r"…(\w+)(…?)", code):
            assert any(match[1] in name for file in last for name in _functions(file)), code


def _in_backticks(page: Path, pattern: str) -> list[str]:
    """All matches of a pattern inside the inline code of a page."""
    return [found for code in re.findall(r"`([^`\n]+)`", page.read_text()) for found in re.findall(pattern, code)]


def _defined_in(module: Path) -> set[str]:
    """Names that a module defines or imports at its top level, and members of its classes as ``Class.member``."""
    names = set()
    body = ast.parse(module.read_text()).body
    for_types = [inner for node in body if isinstance(node, ast.If) for inner in (*node.body, *node.orelse)]
    for node in (*body, *for_types):
        match node:
            case ast.Import() | ast.ImportFrom():
                names |= {alias.asname or alias.name for alias in node.names}
            case ast.FunctionDef():
                names.add(node.name)
            case ast.ClassDef():
                members = {
                    getattr(member, "name", ast.unparse(getattr(member, "target", member))) for member in node.body
                }
                names |= {node.name} | {f"{node.name}.{member}" for member in members}
            case ast.Assign() | ast.AnnAssign():
                names |= {
                    ast.unparse(each) for each in (node.targets if isinstance(node, ast.Assign) else [node.target])
                }
    return names


def _is_defined(dotted: str) -> bool:
    """True if a dotted name is a folder, a module, or a name that a module defines."""
    path, parts = REPOSITORY, dotted.split(".")
    while parts and (path / parts[0]).is_dir():
        path /= parts.pop(0)
    if parts and (path / f"{parts[0]}.py").is_file():
        path /= f"{parts.pop(0)}.py"
    else:
        path /= "__init__.py"
    return not parts or ".".join(parts) in _defined_in(path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_functions_and_classes_that_are_named_exist(page: Path) -> None:
    unknown = [name for name in _in_backticks(page, r"(?<![\w./])risjax(?:\.\w+)+") if not _is_defined(name)]
    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_source_files_and_folders_that_are_named_exist(page: Path) -> None:
    folders = (REPOSITORY, REPOSITORY / "risjax")
    files = {
        path.name
        for folder in ("risjax", "tests", "docs", "benchmarks")
        for path in (REPOSITORY / folder).rglob("*.py")
    }
    for name in _in_backticks(page, r"(?<![\w/.*])(?:\w+/)*\w+\.py\b"):
        assert any((folder / name).is_file() for folder in folders) or name in files, name
    for name in _in_backticks(page, r"^(?:risjax|tests|benchmarks|docs|configs)/(?:[\w-]+/)*(?:[\w-]+\.\w+)?$"):
        path = REPOSITORY / name
        is_result = path.parent.name == "benchmarks" and path.with_suffix(".py").is_file()
        assert path.exists() or is_result, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_are_named_exist(page: Path) -> None:
    removed = {f"{name}.{action.switch}" for name, action in DEPRECATED.items() if isinstance(action, Removed)}
    known = {".".join(path) for path in setting_paths(Config)} | DEPRECATED.keys() | removed
    named = _in_backticks(page, rf"(?<![\w./@])(?:{'|'.join(Config.model_fields)})(?:\.[a-z_]+)+(?![\w(./])")
    files = (".py", ".yaml", ".json", ".safetensors")
    unknown = [name for name in named if name not in known and not name.endswith(files)]
    assert not unknown


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
