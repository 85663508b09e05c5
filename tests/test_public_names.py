"""Public names: each is listed once, imported lazily, documented, and not the name of a module."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import risjax
import risjax.linalg

REFERENCE = Path(risjax.__file__).resolve().parents[1] / "docs" / "api.md"
FUNCTIONS = [
    found
    for module in (risjax, risjax.linalg)
    for found in (getattr(module, name) for name in module.__all__)
    if inspect.isfunction(found)
]


def test_the_three_lists_of_public_names_agree():
    tree = ast.parse(Path(risjax.__file__).read_text())
    (for_types,) = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    imported = {
        alias.name: node.module for node in for_types.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == risjax._PUBLIC
    assert list(risjax._PUBLIC) == risjax.__all__ == sorted(risjax.__all__)


def test_no_public_name_is_that_of_a_module():
    modules = {module.name for module in pkgutil.iter_modules(risjax.__path__)}
    assert not modules & set(risjax.__all__)
    for module in pkgutil.walk_packages(risjax.__path__, "risjax."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # the comparison with PyTorch, where torch is not installed
            if error.name != "torch":
                raise
    for name in risjax.__all__:
        assert not inspect.ismodule(getattr(risjax, name)), name


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_public_function_is_documented(function: Callable):
    text = inspect.getdoc(function)
    assert text is not None
    for parameter in inspect.signature(function).parameters:
        assert f"\n    {parameter}: " in text, parameter
    assert "\nReturns:\n" in text
    assert re.search(r"\nExample:\n(.*\n\n)?    >>> ", text), "a runnable example"


def test_every_public_name_is_in_the_api_reference_once():
    documented = re.findall(r"^::: ([\w.]+)$", REFERENCE.read_text(), re.MULTILINE)
    public = {f"{module.__name__}.{name}" for module in (risjax, risjax.linalg) for name in module.__all__}
    assert public <= set(documented), f"add ::: and the name to docs/api.md: {sorted(public - set(documented))}"
    assert len(documented) == len(set(documented))
    for path in documented:
        module, name = path.rsplit(".", 1)
        found = getattr(importlib.import_module(module), name)
        assert inspect.getdoc(found), f"{path} has no docstring"


def test_importing_the_package_imports_no_jax():
    code = "import sys, risjax; assert 'jax' not in sys.modules; risjax.fit; assert 'jax' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        risjax.nothing  # noqa: B018
    assert set(risjax.__all__) <= set(dir(risjax))
