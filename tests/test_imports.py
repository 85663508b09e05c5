"""The order of the package's parts: imports point down only, and some outside packages have a single importer."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import risjax

PACKAGE = Path(risjax.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

ORDER = (
    "cli",
    "stages",
    "experiments",
    "api",
    "inference",
    "train",
    "pipeline",
    "loss",
    "model",
    "detection",
    "estimators",
    "spectral",
    "covariance",
    "data",
    "linalg",
    "physics",
    "report",
    "metrics",
    "runs",
    "precision",
    "checks",
    "config",
    "registry",
    "types",
    "keys",
    "_compat",
)
"""The folders and modules of ``risjax/`` from top to bottom. Each may import only from those below it."""

LAYER = {part: layer for layer, part in enumerate(ORDER)}

SINGLE_IMPORTER = {
    "chex": "checks.py",
    "jmp": "precision.py",
    "torch": "experiments/torch_baseline/",
    "rich": "runs/terminal/",
    "optuna": "experiments/search/",
    "safetensors": "runs/safetensors_io.py",
}
"""Outside packages that one place alone imports, besides ``_compat/``."""

NO_JAX = (
    "cli.py",
    "stages/verify.py",
    "stages/finished.py",
    "stages/run_summary.py",
    "report/",
    "metrics/matching.py",
    "metrics/detection.py",
    "runs/environment.py",
    "runs/run_directory.py",
    "runs/open_run.py",
    "runs/terminal/",
    "config/",
    "registry/",
)
"""Parts that start at once or only read files. They import no jax, directly or indirectly."""

REPORT_IMPORTS = (
    "_compat/matplotlib.py",
    "report/",
    "metrics/matching.py",
    "metrics/detection.py",
    "runs/environment.py",
    "runs/run_directory.py",
    "runs/npz_io.py",
    "runs/formatting.py",
    "config/",
    "types.py",
    "__init__.py",
)
"""Parts that the report may import: it reads run directories."""


def name_of(path: Path) -> str:
    """Path of a file relative to ``risjax/``, with forward slashes."""
    return path.relative_to(PACKAGE).as_posix()


def part_of(path: Path) -> str:
    """The folder or module of ``risjax/`` that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def imports(path: Path) -> tuple[tuple[str, int, bool], ...]:
    """Every imported module with its line, and whether it is imported together with the file."""
    return tuple(_imports(path))


def _is_for_types(node: ast.AST) -> bool:
    """Return whether a node is ``if TYPE_CHECKING:``; its ``else`` counts as well, and imports nothing here."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    tree = ast.parse(path.read_text())
    in_functions = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_types(function)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, id(node) not in in_functions) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide the order of the parts"
            assert node.module is not None
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            submodules = [name for name in names if _files(name)]
            yield from ((name, node.lineno, id(node) not in in_functions) for name in submodules or [node.module])


def _files(module: str) -> list[Path]:
    """The file of a module of risjax, as a list of one, or none."""
    parts = module.split(".")
    if parts[0] != "risjax":
        return []
    base = PACKAGE.joinpath(*parts[1:])
    return [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]


def files_of(module: str) -> list[Path]:
    """All files that run when a module of risjax is imported, its packages included."""
    parts = module.split(".")
    return [path for end in range(1, len(parts) + 1) for path in _files(".".join(parts[:end]))]


def imported_files(path: Path, *, at_import_only: bool) -> Iterator[tuple[Path, int]]:
    """The files of risjax that a file imports, with the line; optionally without imports inside functions."""
    for name, line, at_import in imports(path):
        if at_import or not at_import_only:
            yield from ((file, line) for file in _files(name))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path):
    part = part_of(path)
    if part == "__init__":
        return
    assert part in LAYER, f"{part} is not in ORDER: add it to this test, the README and CONTRIBUTING"
    for file, line in imported_files(path, at_import_only=False):
        other = part_of(file)
        assert other in (part, "__init__") or LAYER[other] > LAYER[part], (
            f"{name_of(path)}:{line} imports {other}, which is not below {part} in ORDER"
        )


def test_every_part_of_the_order_exists():
    parts = {part_of(path) for path in FILES} - {"__init__"}
    assert parts == set(ORDER)
    assert len(parts) <= 26


def test_no_file_imports_itself_through_others():
    done: set[Path] = set()

    def visit(path: Path, chain: tuple[Path, ...]) -> None:
        assert path not in chain, " imports ".join(map(name_of, (*chain[chain.index(path) :], path)))
        if path not in done:
            for file, _ in imported_files(path, at_import_only=True):
                if file.name != "__init__.py":
                    visit(file, (*chain, path))
            done.add(path)

    for path in FILES:
        visit(path, ())


@pytest.mark.parametrize("package", SINGLE_IMPORTER)
def test_some_packages_have_a_single_importer(package: str):
    for path in FILES:
        for name, line, _ in imports(path):
            if name.split(".")[0] == package:
                assert name_of(path).startswith((SINGLE_IMPORTER[package], "_compat/")), (
                    f"{name_of(path)}:{line} imports {package}; only {SINGLE_IMPORTER[package]} and _compat/ may"
                )


@pytest.mark.parametrize("start", NO_JAX)
def test_parts_without_jax_import_none(start: str):
    seen, ahead = set(), [path for path in FILES if name_of(path).startswith(start)]
    assert ahead, f"{start} does not exist"
    while ahead:
        path = ahead.pop()
        seen.add(path)
        for name, line, at_import in imports(path):
            if at_import:
                assert name.split(".")[0] not in ("jax", "jaxlib", "flax", "optax"), f"{name_of(path)}:{line}: {name}"
                ahead += [file for file in files_of(name) if file not in seen]


def test_linear_algebra_imports_nothing_else_of_the_package():
    """`risjax.linalg` is used by itself in other projects."""
    for path in FILES:
        if part_of(path) == "linalg":
            for file, line in imported_files(path, at_import_only=False):
                assert part_of(file) in ("linalg", "__init__"), f"{name_of(path)}:{line} imports {name_of(file)}"


def test_the_report_reads_only_run_directories():
    for path in FILES:
        if part_of(path) == "report":
            for file, line in imported_files(path, at_import_only=False):
                assert name_of(file).startswith(REPORT_IMPORTS), f"{name_of(path)}:{line} imports {name_of(file)}"


def test_no_postponed_annotations():
    """jaxtyping reads annotations when a function is defined."""
    for path in FILES:
        assert not any(name.startswith("__future__") for name, _, _ in imports(path)), name_of(path)


def test_nothing_is_pickled():
    for path in FILES:
        assert not {name for name, _, _ in imports(path)} & {"pickle", "dill", "cloudpickle", "joblib"}, name_of(path)


def test_run_py_is_short():
    assert len((PACKAGE.parent / "run.py").read_text().splitlines()) <= 60


def test_readme_and_contributing_state_the_order():
    root = PACKAGE.parent
    contributing = (root / "CONTRIBUTING.md").read_text()
    listed = contributing.split("from top to bottom:")[1].split(".")[0].replace("\n", " ")
    assert tuple(part.strip() for part in listed.split(",")) == ORDER
    table = (root / "README.md").read_text().split("| in `risjax/` | contains |")[1].split("\n\n")[0]
    rows = [_parts_named(row.split("|")[1]) for row in table.splitlines()[2:]]
    assert sorted(part for row in rows for part in row) == sorted(ORDER)
    highest = [min(LAYER[part] for part in row) for row in rows]
    assert highest == sorted(highest)


def _parts_named(cell: str) -> list[str]:
    """The parts of ``risjax/`` that a cell of a table lists in backticks."""
    return [name.strip().strip("`").rstrip("/").removesuffix(".py") for name in cell.split(",")]
