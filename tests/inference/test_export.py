"""The exported pipeline: in a process without risjax it gives the results of the model."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export as jax_export

import risjax
from risjax import cli
from risjax.config.errors import ConfigError
from risjax.inference.export import export_pipeline
from risjax.inference.predict import Model, load
from risjax.inference.predict.fit_warning import FitWarning
from risjax.types import Diagnostics, Estimates
from tests.inference.released import tiny_release

pytestmark = pytest.mark.filterwarnings("ignore::risjax.inference.predict.fit_warning.FitWarning")
"""An untrained network misses sources, so that its answers do not always explain the snapshots."""

REPOSITORY = Path(risjax.__file__).resolve().parents[1]

BLOCKED = '''
import importlib.abc, sys
ALLOWED = {"jax", "jaxlib", "numpy", "scipy", "ml_dtypes", "opt_einsum", "flatbuffers", *sys.stdlib_module_names}
class Allowed(importlib.abc.MetaPathFinder):
    """An importer that hides all packages but those allowed."""
    def __init__(self, finders):
        self.finders = finders
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ALLOWED or name.startswith("_"):
            for finder in self.finders:
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
sys.meta_path[:] = [Allowed(list(sys.meta_path))]
try:
    import risjax
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("risjax is there")
import numpy as np

given = np.load("given.npz")
y, H, codes = given["y"], given["H"], given["codes"]
'''
AFTERWARDS = """
assert not any(name.split(".")[0] in ("risjax", "flax", "chex", "jaxtyping") for name in sys.modules)
np.savez("found.npz", **sources)
few = jax.eval_shape(pipeline, y[:2], H[:2], codes[:2])
assert few["position"].shape[0] == 2, few
"""


def loader() -> str:
    """The lines of the documentation."""
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "predict.md").read_text(), re.DOTALL)
    return code


def measurements(model: Model, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    physics = model.config.physics
    generator = np.random.default_rng(3)
    sizes = (
        (physics.codebook.num_snapshots, physics.channel.num_antennas),
        (physics.channel.num_antennas, physics.array.num_elements),
        (physics.codebook.num_snapshots, physics.array.num_elements),
    )
    draws = [generator.normal(size=(2, count, *size)) for size in sizes]
    y, channel, codes = ((draw[0] + 1j * draw[1]).astype(np.complex64) for draw in draws)
    return y, channel, codes / np.abs(codes)


def check_elsewhere(artefact: Path, model: Model, folder: Path) -> None:
    """Runs the documentation's lines in a process without risjax and compares with the live model."""
    given = measurements(model, 4)
    np.savez(folder / "given.npz", y=given[0], H=given[1], codes=given[2])
    (folder / "pipeline.zip").write_bytes(artefact.read_bytes())
    (folder / "elsewhere.py").write_text(BLOCKED + loader() + AFTERWARDS)
    done = subprocess.run(
        [sys.executable, "elsewhere.py"], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    with pytest.warns(FitWarning):  # the measurements are noise
        live = model.localise(*given)
    with np.load(folder / "found.npz") as found:
        assert set(found.files) == {*Estimates._fields, *Diagnostics._fields}
        for field in (*Estimates._fields, "explained", "degrees_of_freedom"):
            wanted = getattr(live, field)
            largest = np.abs(wanted[np.isfinite(wanted)]).max(initial=0)
            np.testing.assert_allclose(found[field], wanted, rtol=2e-3, atol=2e-3 * largest, err_msg=field)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    # float32: two compilations of a bfloat16 network round differently, and a peak may fall to the other side
    return load(tiny_release(tmp_path_factory.mktemp("released"), precision__compute="float32")[0])


@pytest.fixture(scope="module")
def artefact(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that the stage writes."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "mine.yaml").write_text(f"stages: [export]\nweights: {model.name}\n")
    assert cli.main(["--config", str(folder / "mine.yaml"), "--quiet", f"run.directory={folder / 'run'}"]) == 0
    (path,) = (folder / "run" / "export").iterdir()
    assert path.name == f"release-risjax-{risjax.__version__}.zip"
    return path


def test_the_artefact_runs_without_risjax(artefact: Path, model: Model, tmp_path: Path) -> None:
    assert "risjax" not in loader()
    check_elsewhere(artefact, model, tmp_path)


def test_a_scene_of_zeros_has_no_sources(artefact: Path, model: Model) -> None:
    with zipfile.ZipFile(artefact) as archive:
        exported = jax_export.deserialize(bytearray(archive.read("pipeline.bin")))
    y, channel, codes = measurements(model, 3)
    y[1], channel[2] = 0, 0
    found = exported.call(y, channel, codes)
    assert not np.asarray(found["active"])[1:].any()
    assert not np.asarray(found["amplitude"])[1:].any()


def test_the_metadata_describes_the_artefact(artefact: Path) -> None:
    with zipfile.ZipFile(artefact) as archive:
        assert set(archive.namelist()) == {"metadata.json", "pipeline.bin", "config.yaml", "card.md"}
        metadata = json.loads(archive.read("metadata.json"))
        program = archive.read("pipeline.bin")
    assert (metadata["format"], metadata["risjax"]) == ("risjax pipeline 1", risjax.__version__)
    assert metadata["platforms"] == ["cpu", "cuda"]
    inputs = {entry["name"]: (entry["shape"], entry["dtype"]) for entry in metadata["inputs"]}
    assert inputs == {
        "y": (["b", 8, 8], "complex64"),
        "H": (["b", 8, 36], "complex64"),
        "codes": (["b", 8, 36], "complex64"),
    }
    outputs = {entry["name"]: (entry["shape"], entry["unit"]) for entry in metadata["outputs"]}
    assert outputs["position"] == (["b", 2, 3], "rad, rad, m")
    assert outputs["existence"] == (["b", 2], "")
    exported = jax.export.deserialize(bytearray(program))
    assert tuple(exported.platforms) == ("cpu", "cuda")


def test_the_same_model_gives_the_same_file(artefact: Path, model: Model, tmp_path: Path) -> None:
    export_pipeline(model, tmp_path / "again.zip")
    with zipfile.ZipFile(artefact) as one, zipfile.ZipFile(tmp_path / "again.zip") as other:
        metadata = [json.loads(archive.read("metadata.json")) for archive in (one, other)]
        assert metadata[0]["inputs"] == metadata[1]["inputs"]
        programs = [jax.export.deserialize(bytearray(archive.read("pipeline.bin"))) for archive in (one, other)]
    # the files differ in where each operation came from: lines of #loc12 = ..., and loc("name"(#loc12)) at its end
    places = r' ?loc\(("[^"]*")?[^()]*(\([^()]*\))?\)|^#loc.*$'
    first, second = (re.sub(places, "", program.mlir_module(), flags=re.M) for program in programs)
    assert "stablehlo.dot_general" in first
    assert first.split() == second.split()


def test_another_platform_is_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"export\.platforms\[1\]\s+got 'gpu'"):
        model.export(tmp_path / "pipeline.zip", platforms=("cpu", "gpu"))


@pytest.mark.gpu
def test_the_artefact_runs_on_a_gpu(artefact: Path, model: Model, tmp_path: Path) -> None:
    check_elsewhere(artefact, model, tmp_path)
