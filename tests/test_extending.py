"""A term, an estimator and a simulator of another package: the example of docs/extending.md, built and used."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import risjax

REPOSITORY = Path(risjax.__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "extending.md"
OVERRIDES = ["loss.element_power.weight=0.2", "physics.simulator=rayleigh", "estimator.matched_filter.least_share=0.05"]

USE = """
import numpy as np
import risjax
from risjax.config.io import apply_overrides
from tests.tiny import tiny_config

physics = {"base": "default", "simulator": "rayleigh", "rayleigh": {"gain": 4.0}, "scene": {"snr_db": [20, 20]}}
scenes = risjax.simulate(physics, 64, key=0)
power = np.mean(np.abs(np.asarray(scenes.observation.channel)) ** 2) * 144
assert abs(power - 4) < 0.05, power

single = physics | {"scene": {"snr_db": [20, 20], "num_sources": [1, 1]}}
scenes = risjax.simulate(single, 16, key=1)
settings = {"matched_filter": {"least_share": 0.05}}
found = risjax.localise(*scenes.observation, method="matched_filter", physics=single, estimator=settings)
recall = risjax.score(found, scenes.truth)["recall_angle"]["value"]
assert recall > 0.5, recall

config = apply_overrides(tiny_config(), {"loss.element_power.weight": 0.2, "physics.simulator": "rayleigh"})
records = []
model = risjax.fit(config, on_epoch=records.append)
assert len(records) == config.train.epochs
terms = records[-1]["terms"]
assert terms["element_power"] > 0, records[-1]
assert abs(terms["covariance"] + 0.5 * terms["projector"] + 0.2 * terms["element_power"] - records[-1]["loss"]) < 1e-4
assert model.config.loss.terms["element_power"].weight == 0.2

from risjax.config.loss import TERMS
assert TERMS["element_power"].torch is None
try:
    import torch
except ImportError:
    pass
else:
    from risjax.experiments.torch_baseline.loss import torch_place
    try:
        torch_place("element_power")
    except ValueError as error:
        assert "the term 'element_power' of the loss has no counterpart in PyTorch" in str(error)
    else:
        raise AssertionError("a term without a counterpart was accepted")
"""


def blocks() -> dict[str, str]:
    """The files of the page's example, by their titles."""
    return dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', PAGE.read_text(), re.MULTILINE | re.DOTALL))


def build(folder: Path, files: dict[str, str]) -> Path:
    """Lay the package out as pip installs it: its modules, and the metadata with its entry points."""
    project = tomllib.loads(files["pyproject.toml"])["project"]
    for name, text in files.items():
        if name.endswith(".py"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
    (folder / "my_package" / "__init__.py").touch()
    info = folder / f"my_package-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, *command], env=environment, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"), blocks())


def test_the_configuration_shows_the_settings_of_all_three_without_jax(package: Path):
    code = "import sys; from risjax.cli import main; main(sys.argv[1:]); assert 'jax' not in sys.modules"
    methods = "evaluate.methods=[mvdr, matched_filter]"
    done = run(package, "-c", code, "--config", "base.yaml", *OVERRIDES, methods, "--print-config")
    assert done.returncode == 0, done.stderr
    for text in ("element_power:", "floor: 0.001", "simulator: rayleigh", "gain: 1.0", "least_share: 0.05"):
        assert text in done.stdout, text
    assert done.stdout.count("matched_filter") == 2, "the method and its settings"


def test_all_three_work(package: Path):
    done = run(package, "-c", USE)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({'"my_package.schema:RAYLEIGH"': '"my_package.schema:NOTHING"'}, "cannot be loaded"),
        ({'name="rayleigh"': 'name="other"'}, "registers the name 'other'"),
        ({"from risjax.registry import": "import jax\nfrom risjax.registry import"}, "imports jax"),
        ({"element_power": "projector"}, "'projector', which exists already"),
        ({"floor: PositiveFloat = 1.0e-3": 'floor: str = "a"'}, "expected fields of type float"),
    ],
)
def test_a_part_that_cannot_be_used_is_an_error_that_names_its_package(tmp_path: Path, change, problem):
    files = blocks()
    for old, new in change.items():
        assert any(old in text for text in files.values()), old
        files = {name: text.replace(old, new) for name, text in files.items()}
    done = run(build(tmp_path, files), str(REPOSITORY / "run.py"), "--config", "base.yaml", "--print-config")
    assert done.returncode == 2, done.stderr
    assert problem in done.stderr
    assert "my-package" in done.stderr
