"""Every kind of part from another package: the example of docs/extending.md, built and used."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import risjax

REPOSITORY = Path(risjax.__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "extending.md"
OVERRIDES = [
    "loss.element_power.weight=0.2",
    "model.encoder=convolutional",
    "physics.channel.kind=rayleigh",
    "physics.codebook.kind=focused",
    "physics.simulator=interference",
    "estimator.matched_filter.least_share=0.05",
]

SIMULATE = """
import sys
import numpy as np
import risjax
from risjax.config.io import read_physics
from risjax.physics.array import steering

def physics(**sections):
    scene = {"snr_db": [20, 20], "snr_reference": "received"} | sections.pop("scene", {})
    return read_physics({"base": "default", "scene": scene} | sections)

model = physics(channel={"kind": "rayleigh", "rayleigh": {"gain": 4.0}})
scenes = risjax.simulate(model, 64, key=0)
power = np.mean(np.abs(np.asarray(scenes.observation.channel)) ** 2) * 144
assert abs(power - 4) < 0.05, power

single = physics(channel={"kind": "rayleigh"}, scene={"num_sources": [1, 1]})
scenes = risjax.simulate(single, 16, key=1)
settings = {"matched_filter": {"least_share": 0.05}}
found = risjax.localise(*scenes.observation, method="matched_filter", physics=single, estimator=settings)
recall = risjax.score(found, scenes.truth)["recall_angle"]["value"]
assert recall > 0.5, recall

model = physics(codebook={"kind": "focused", "phase_bits": None, "focused": {"near_m": 1.0}})
codes = np.asarray(risjax.simulate(model, 2, key=0).observation.codes)
np.testing.assert_array_equal(codes[0], codes[1])
near = np.asarray(steering(model.array, np.array([0.0, 0.0, 1.0], np.float32)))
np.testing.assert_allclose(codes[0, -1] @ near, 12.0, rtol=1e-3)

model = physics(simulator="interference", interference={"power_db": 40.0})
scenes = risjax.simulate(model, 32, key=0)
energy = np.mean(np.abs(np.asarray(scenes.observation.snapshots)) ** 2, axis=(1, 2))
ratio = np.mean(energy / np.asarray(scenes.truth.noise_variance))
assert abs(ratio / (10_000 + 100 + 1) - 1) < 0.2, ratio

assert "my_package.design" not in sys.modules, "imported when it is needed"
small = {"array": {"num_horizontal": 4, "num_vertical": 4}, "channel": {"num_antennas": 4}}
channel = np.random.default_rng(0).normal(size=(4, 32)).view(complex)
codes = risjax.design_codes(channel, small, criterion="least_power", num_snapshots=5, steps=2)
assert codes.shape == (5, 16)
assert "my_package.design" in sys.modules
"""

LEARN = """
import sys
import jax
import numpy as np
import risjax
from risjax.config.io import apply_overrides
from risjax.config.loss import TERMS
from risjax.config.model import ENCODERS
from tests.tiny import tiny_config

parts = {
    "loss.element_power.weight": 0.2,
    "model.encoder": "convolutional",
    "physics.channel.kind": "rayleigh",
    "physics.codebook.kind": "focused",
    "physics.simulator": "interference",
}
config = apply_overrides(tiny_config(), parts)
records = []
model = risjax.fit(config, on_epoch=records.append)
assert len(records) == config.train.epochs
terms = records[-1]["terms"]
assert terms["element_power"] > 0, records[-1]
assert abs(terms["covariance"] + 0.5 * terms["projector"] + 0.2 * terms["element_power"] - records[-1]["loss"]) < 1e-4
assert model.config.loss.terms["element_power"].weight == 0.2
assert records[-1]["loss"] < records[0]["loss"], records

scenes = risjax.simulate(config.physics, 3, key=0)
model.save("saved")
again = risjax.load("saved")
assert (again.config.model, again.config.physics, again.config.loss) == (config.model, config.physics, config.loss)
expected = model.covariance(*scenes.observation)
assert np.isfinite(expected).all()
np.testing.assert_array_equal(again.covariance(*scenes.observation), expected)

if sys.argv[1] == "torch":
    from risjax.experiments.torch_baseline import torch_place
    for part, reason in (
        (TERMS["element_power"], "the term 'element_power' of the loss has no counterpart in PyTorch"),
        (ENCODERS["convolutional"], "the encoder 'convolutional' has no counterpart in PyTorch"),
    ):
        try:
            torch_place(part)
        except ValueError as error:
            assert reason in str(error), error
        else:
            raise AssertionError(f"{part.name} was accepted")
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


def test_the_configuration_shows_the_settings_of_all_parts_without_jax(package: Path):
    code = "import sys; from risjax.cli import main; main(sys.argv[1:]); assert 'jax' not in sys.modules"
    methods = "evaluate.methods=[mvdr, matched_filter]"
    done = run(package, "-c", code, "--config", "base.yaml", *OVERRIDES, methods, "--print-config")
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert shown["loss"]["element_power"]["floor"] == 0.001
    assert shown["model"]["encoder"] == "convolutional"
    assert shown["model"]["convolutional"] == {"kernel": 3}
    assert shown["physics"]["channel"]["kind"] == "rayleigh"
    assert shown["physics"]["channel"]["rayleigh"] == {"gain": 1.0}
    assert shown["physics"]["codebook"]["kind"] == "focused"
    assert shown["physics"]["codebook"]["focused"] == {"near_m": 0.5, "far_m": 10.0}
    assert shown["physics"]["simulator"] == "interference"
    assert shown["physics"]["interference"] == {"power_db": 10.0}
    assert shown["estimator"]["matched_filter"] == {"least_share": 0.05}
    assert shown["evaluate"]["methods"] == ["mvdr", "matched_filter"]


def test_the_estimator_the_simulators_and_the_criterion_work(package: Path):
    done = run(package, "-c", SIMULATE)
    assert done.returncode == 0, done.stderr


def test_a_network_with_the_parts_trains_and_is_saved(package: Path):
    done = run(package, "-c", LEARN, "torch" if find_spec("torch") else "")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({'"my_package.schema:RAYLEIGH"': '"my_package.schema:NOTHING"'}, "cannot be loaded"),
        ({'"my_package.schema:RAYLEIGH"': '"my_package.schema:FOCUSED"'}, "expected a risjax.registry.Channel"),
        ({'name="rayleigh"': 'name="other"'}, "registers the name 'other'"),
        (
            {'name="convolutional"': 'name="width"', "\nconvolutional =": "\nwidth ="},
            "has the name of a setting of ModelConfig",
        ),
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
    assert re.search("my[-_]package", done.stderr)
