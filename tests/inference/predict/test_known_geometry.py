"""Scenes with a geometry known to the receiver, end to end: ``simulate`` writes them, ``predict`` and ``evaluate`` read
them. Estimates are accurate with the geometry and not without it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from risjax import cli
from risjax.data.files import read_scenes
from risjax.data.layouts import SceneFile
from risjax.inference.predict import stage as stage_module
from risjax.types import Geometry
from tests.inference.predict.conftest import Setting

pytestmark = pytest.mark.filterwarnings("ignore::risjax.inference.predict.fit_warning.FitWarning")
"""Without the geometry the sources do not explain the snapshots."""

SIMULATED = """
stages: [simulate]
weights: {folder}
simulate: {{scenes: 12}}
physics:
  impairments: {{position_jitter: 0.3, wavelength_error: 0.05, known: [position_jitter, wavelength_error]}}
  scene: {{snr_db: [25.0, 30.0], range_m: [0.5, 2.0], num_sources: [1, 1]}}
predict: {{batch_size: 4}}
"""

EVALUATED = """
base: mine.yaml
stages: [evaluate]
evaluate:
  methods: [mvdr]
  batch_size: 12
  bootstrap_draws: 20
  sources:
    - {name: known, path: scenes.npz, scenes: 12}
    - {name: ignored, path: nominal.npz, scenes: 12}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, setting: Setting) -> Path:
    """A working directory with the simulated scenes, as they were written and stripped of their geometry."""
    folder = tmp_path_factory.mktemp("known")
    (folder / "mine.yaml").write_text(SIMULATED.format(folder=setting.folder))
    arguments = [f"run.directory={folder}/simulated", f"simulate.path={folder}/shards", "--quiet"]
    assert cli.main(["--config", str(folder / "mine.yaml"), *arguments]) == 0
    (shard,) = (folder / "shards").glob("*.npz")
    with np.load(shard) as held:
        arrays = dict(held)
    assert {"elements_m", "wavelength_m"} <= set(arrays)
    np.savez(folder / "scenes.npz", **arrays)
    nominal = {name: array for name, array in arrays.items() if name not in Geometry._fields}
    np.savez(folder / "nominal.npz", **nominal)
    (folder / "evaluated.yaml").write_text(EVALUATED)
    return folder


def missed_deg(azimuth_deg: np.ndarray, elevation_deg: np.ndarray, scenes: SceneFile) -> np.ndarray:
    """Distance of the nearest of [S, K] estimates from the single source of each scene; NaN if there is none."""
    assert scenes.sources is not None
    truth = np.degrees(scenes.sources.position[:, :1])
    miss = np.maximum(np.abs(azimuth_deg - truth[..., 0]), np.abs(elevation_deg - truth[..., 1]))
    return np.nanmin(miss, axis=1)


def predicted_deg(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    azimuth_deg, elevation_deg = np.full((2, 12, 2), np.nan)
    with (directory / "sources.csv").open() as stream:
        for row in csv.DictReader(stream):
            place = int(row["scene"]), int(row["source"])
            azimuth_deg[place], elevation_deg[place] = float(row["azimuth_deg"]), float(row["elevation_deg"])
    return azimuth_deg, elevation_deg


def test_the_stage_and_the_api_find_the_sources_with_the_geometry_alone(
    folder: Path, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(stage_module, "Model", lambda name, config, params: setting.model)  # compiled once
    scenes = read_scenes(folder / "shards")
    missed = {}
    for name in ("shards", "nominal.npz"):
        arguments = ["stages=[predict]", f"data.path={name}", f"run.directory={name}-run", "--quiet"]
        assert cli.main(["--config", "mine.yaml", *arguments]) == 0
        found = predicted_deg(folder / f"{name}-run")
        missed[name] = missed_deg(*found, scenes)
        y, channel, codes, geometry = scenes.observation
        answer = setting.model.localise(y, channel, codes, geometry if name == "shards" else None)
        for stage, api in zip(found, (answer.azimuth_deg, answer.elevation_deg), strict=True):
            np.testing.assert_allclose(stage, api, atol=1e-3, err_msg=name)
    assert np.median(missed["shards"]) < 0.3
    assert np.median(missed["nominal.npz"]) > 5 * np.median(missed["shards"])


@pytest.mark.slow
def test_evaluation_scores_them_with_the_geometry_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert cli.main(["--config", "evaluated.yaml", "--quiet"]) == 0
    sources = json.loads(Path("runs/evaluated/metrics.json").read_text())["sources"]
    found = {name: entry["methods"]["mvdr"]["overall"] for name, entry in sources.items()}
    assert found["known"]["f1_angle"]["value"] > 0.8
    assert found["known"]["rmse_azimuth_deg"]["value"] < 0.3 * found["ignored"]["rmse_azimuth_deg"]["value"]
    assert any("knows each scene's geometry" in note for note in sources["known"]["notes"])
    assert not any("geometry" in note for note in sources["ignored"]["notes"])
