"""Modules that estimate cannot read the truth of the simulator by accident."""

import ast
import inspect
from pathlib import Path

import pytest

import risjax
from risjax import estimators
from risjax.types import Observation, Scene, Truth

PACKAGE = Path(risjax.__file__).parent
BLIND = ("covariance", "estimators", "model", "pipeline", "predict", "export")
"""Rooms that turn what the receiver knows into sources."""
SECRETS = {"Truth", "Scene", "truth", "snr_db", "noise_variance", "label_factor"}
"""The truth's types, attributes and fields."""
MEASURED = {"noise_variance"}
"""Found in the data too: a function of that name, or the fit's residual, is no leak; an attribute is."""


def _words(path: Path) -> set[str]:
    """Names that a file imports or reads as attributes."""
    words = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "risjax.types":
            words |= {alias.name for alias in node.names}
    return words


def _files(room: str) -> list[Path]:
    """A room's files; a picture, which nothing imports, may show the truth."""
    alone = PACKAGE / f"{room}.py"
    return [alone] if alone.exists() else [f for f in sorted((PACKAGE / room).rglob("*.py")) if f.name != "pictures.py"]


@pytest.mark.parametrize("room", BLIND)
def test_estimating_modules_do_not_name_the_truth(room):
    for path in _files(room):
        assert not _words(path) & SECRETS, f"{path.relative_to(PACKAGE)} reads {_words(path) & SECRETS}"


def test_the_check_would_see_a_leak(tmp_path):
    leak = tmp_path / "leak.py"
    leak.write_text("from risjax.types import Scene\ndef alpha(scene):\n    return scene.truth.noise_variance\n")
    assert _words(leak) & SECRETS == {"Scene", "truth", "noise_variance"}


def test_observation_and_truth_share_no_field():
    assert not set(Observation._fields) & set(Truth._fields)
    assert Scene._fields == ("observation", "truth")


def test_no_estimator_takes_the_noise_variance():
    functions = [getattr(estimators, name) for name in estimators.__all__ if name.startswith("localise_")]
    assert len(functions) > 5
    allowed = {"observation", "covariance", "physics", "estimator", "num_sources", "grid", "geometry"}
    for function in functions:
        assert set(inspect.signature(function).parameters) <= allowed, function.__name__
