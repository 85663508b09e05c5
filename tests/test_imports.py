"""The house: an import may only point back along the line of the rooms, and some packages have one door."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import risjax

PACKAGE = Path(risjax.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LINE = (
    ("allocator", "types", "checks", "keys", "environment"),
    ("config",),
    ("run_directory",),
    ("opening",),
    ("terminal", "weights_file", "events", "processes", "tables"),
    ("precision",),
    ("linalg",),
    ("physics",),
    ("data",),
    ("covariance",),
    ("estimators",),
    ("metrics",),
    ("model",),
    ("loss",),
    ("pipeline",),
    ("train",),
    ("release",),
    ("search",),
    ("evaluate",),
    ("limit", "ablate"),
    ("report",),
    ("predict",),
    ("export", "baseline", "audit", "simulate"),
    ("compare",),
    ("verify", "summary"),
    ("stages",),
    ("cli",),
)
PLACE = {room: place for place, rooms in enumerate(LINE) for room in rooms}

ONLY_DOOR = {
    "chex": "checks",
    "jmp": "precision",
    "torch": "baseline",
    "rich": "terminal",
    "optuna": "search",
    "safetensors": "weights_file",
}
"""Outside packages with a single importer."""

NO_JAX = ("config", "environment", "run_directory", "opening", "terminal", "report", "cli", "verify", "summary")
"""Rooms that start at once or read only files: they import no jax, at any distance."""

REPORT_READS = {"types", "config", "environment", "run_directory", "report"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def imports(path: Path) -> tuple[tuple[str, int, bool], ...]:
    """Every imported module with its line, and whether it is imported when the file is."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, id(node) not in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide where they lead"
            assert node.module is not None
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "risjax" else [node.module]
            )
            yield from ((name, node.lineno, id(node) not in inside) for name in names)


def rooms_of(path: Path) -> Iterator[tuple[str, int, bool]]:
    """The rooms of risjax that a file imports from."""
    for name, line, at_once in imports(path):
        if (
            name.startswith("risjax.")
            and (PACKAGE / name.split(".")[1]).with_suffix("").exists()
            | (PACKAGE / f"{name.split('.')[1]}.py").exists()
        ):
            yield name.split(".")[1], line, at_once


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_back_along_the_line(path: Path):
    own = room(path)
    if own == "__init__":
        return
    assert own in PLACE, f"{own} has no place in the line of rooms: give it one in this test and in the design"
    for other, line, _ in rooms_of(path):
        assert other == own or PLACE[other] < PLACE[own] or (own, other) in {("checks", "types"), ("keys", "types")}, (
            f"{name_of(path)}:{line} imports {other}, which comes no earlier in the line than {own}"
        )


@pytest.mark.parametrize("package", ONLY_DOOR)
def test_some_packages_have_one_door(package: str):
    for path in FILES:
        for name, line, _ in imports(path):
            if name.split(".")[0] == package:
                assert room(path) == ONLY_DOOR[package], f"{name_of(path)}:{line} imports {package}"


@pytest.mark.parametrize("start", NO_JAX)
def test_rooms_that_need_no_jax_import_none(start: str):
    seen, ahead = set(), [path for path in FILES if room(path) == start]
    while ahead:
        path = ahead.pop()
        seen.add(path)
        for name, line, at_once in imports(path):
            if at_once:
                assert name.split(".")[0] not in ("jax", "jaxlib", "flax", "optax"), f"{name_of(path)}:{line}: {name}"
                ahead += [file for file in files_of(name) if file not in seen]


def files_of(module: str) -> list[Path]:
    """The files that importing a module of risjax runs."""
    parts = module.split(".")
    if parts[0] != "risjax":
        return []
    packages = [PACKAGE.joinpath(*parts[1:end], "__init__.py") for end in range(1, len(parts) + 1)]
    return [path for path in (*packages, PACKAGE.joinpath(*parts[1:]).with_suffix(".py")) if path.is_file()]


def test_the_report_reads_only_the_run_directory():
    for path in FILES:
        if room(path) == "report":
            for other, line, _ in rooms_of(path):
                assert other in REPORT_READS, f"{name_of(path)}:{line} imports {other}"


def test_no_postponed_annotations():
    """jaxtyping reads annotations when a function is defined."""
    for path in FILES:
        assert "__future__" not in {name for name, _, _ in imports(path)}, name_of(path)


def test_nothing_is_pickled():
    for path in FILES:
        assert not {name for name, _, _ in imports(path)} & {"pickle", "dill", "cloudpickle", "joblib"}, name_of(path)


def test_run_py_is_short():
    assert len((PACKAGE.parent / "run.py").read_text().splitlines()) <= 60
