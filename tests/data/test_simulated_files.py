"""Scene files that the simulator writes: shards, manifest, resumption, geometry known to the receiver."""

import json

import jax
import numpy as np
import pytest

from risjax.config import (
    ImpairmentsConfig,
    PhysicsConfig,
    SimulateConfig,
)
from risjax.data.chunks import scene_chunks
from risjax.data.files import read_scenes, sha256
from risjax.data.layouts import SceneFileError
from risjax.data.simulate import BATCH, SceneDirectoryError, _batch, shard_arrays, write_scenes
from risjax.runs.terminal import Terminal
from risjax.types import Geometry
from tests.data.small import TINY, with_nan, write_npz

SETTINGS = SimulateConfig(scenes=300, shard_scenes=BATCH)


def test_simulated_scenes_are_the_streams_whatever_the_shards(tmp_path):
    write_scenes(tmp_path / "a", TINY, 1, SETTINGS, Terminal(quiet=True))
    write_scenes(tmp_path / "b", TINY, 1, SimulateConfig(scenes=200, shard_scenes=200), Terminal(quiet=True))
    scenes, others = read_scenes(tmp_path / "a"), read_scenes(tmp_path / "b" / "manifest.json")
    assert scenes.num_scenes == 300
    np.testing.assert_array_equal(scenes.observation.snapshots[:200], others.observation.snapshots)
    np.testing.assert_array_equal(read_scenes(tmp_path / "a", limit=150).snr_db, np.asarray(scenes.snr_db)[:150])


def test_an_interrupted_simulation_resumes(tmp_path):
    write_scenes(tmp_path, TINY, 1, SETTINGS, Terminal(quiet=True))
    manifest = (tmp_path / "manifest.json").read_text()
    files = sorted(tmp_path.glob("*.npz"))
    first_written, whole = files[0].stat().st_mtime_ns, files[1].read_bytes()
    files[1].write_bytes(whole[:-10])
    files[2].unlink()
    with pytest.raises(SceneFileError, match="checksum is not the manifest's"):
        read_scenes(tmp_path)
    write_scenes(tmp_path, TINY, 1, SETTINGS, Terminal(quiet=True))
    assert (tmp_path / "manifest.json").read_text() == manifest
    assert files[1].read_bytes() == whole
    assert files[0].stat().st_mtime_ns == first_written


def test_simulation_refuses_to_mix_scenes(tmp_path):
    write_scenes(tmp_path, TINY, 1, SimulateConfig(scenes=5), Terminal(quiet=True))
    with pytest.raises(SceneDirectoryError, match="another seed"):
        write_scenes(tmp_path, TINY, 2, SimulateConfig(scenes=5), Terminal(quiet=True))


def test_a_manifest_cannot_name_files_elsewhere(tmp_path):
    write_scenes(tmp_path, TINY, 1, SimulateConfig(scenes=5), Terminal(quiet=True))
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace("scenes-00000.npz", "../secret.npz"))
    with pytest.raises(SceneFileError, match="not a file of its directory"):
        read_scenes(tmp_path)


EVERYWHERE = ImpairmentsConfig(
    position_jitter=0.2,
    wavelength_error=0.05,
    spacing_error=0.05,
    known=("position_jitter", "wavelength_error", "spacing_error"),
)


def _on(impairments: ImpairmentsConfig) -> PhysicsConfig:
    return TINY.model_copy(update={"impairments": impairments})


@pytest.mark.parametrize("known", [("wavelength_error",), EVERYWHERE.known], ids="+".join)
def test_simulated_scenes_are_read_with_the_geometry_known_to_their_receiver(tmp_path, known):
    physics = _on(EVERYWHERE.model_copy(update={"known": known}))
    write_scenes(tmp_path, physics, 1, SimulateConfig(scenes=200, shard_scenes=BATCH), Terminal(quiet=True))
    read = read_scenes(tmp_path).observation
    for index in (0, 1):
        made = _batch(physics, np.uint32(1), index).observation
        stored = jax.tree.map(lambda array, first=index * BATCH: array[first : first + BATCH], read)
        jax.tree.map(lambda got, wanted: np.testing.assert_array_equal(got, wanted[: len(got)]), stored, made)
    names = {name for name, array in (read.geometry or Geometry())._asdict().items() if array is not None}
    elements = {"elements_m"} if set(known) & {"position_jitter", "spacing_error"} else set()
    assert names == elements | ({"wavelength_m"} if "wavelength_error" in known else set())
    first = read_scenes(tmp_path, limit=3).observation.geometry
    jax.tree.map(lambda got, whole: np.testing.assert_array_equal(got, whole[:3]), first, read.geometry)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"elements_m": a["elements_m"][0, 0]}, r"elements_m has shape \[2\], expected \[S, N, 2\]"),
        (lambda a: {"elements_m": 0 * a["elements_m"]}, "elements_m places all elements of a scene at one point"),
        (lambda a: {"elements_m": a["elements_m"][:, :3]}, r"elements_m has shape \[6, 3, 2\].* with N = 4 as in"),
        (lambda a: {"elements_m": a["elements_m"][:5]}, r"elements_m has shape \[5, 4, 2\].* with S = 6 as in"),
        (lambda a: {"elements_m": a["elements_m"] + 0j}, "elements_m has dtype complex64, expected float"),
        (lambda a: {"elements_m": with_nan(a["elements_m"])}, "elements_m holds 1 values that are not finite"),
        (lambda a: {"wavelength_m": a["wavelength_m"][:, None]}, r"wavelength_m has shape \[6, 1\], expected \[S\]"),
        (lambda a: {"wavelength_m": -a["wavelength_m"]}, "wavelength_m holds -0.3.* m; wavelengths are positive"),
    ],
)
def test_a_wrong_geometry_is_reported(tmp_path, change, message):
    arrays = shard_arrays(_on(EVERYWHERE), 0, 0, 6)
    with pytest.raises(SceneFileError, match=message):
        read_scenes(write_npz(tmp_path / "bad.npz", arrays, **change(arrays)))


def test_shards_with_and_without_a_geometry_do_not_mix(tmp_path):
    write_scenes(tmp_path, _on(EVERYWHERE), 1, SimulateConfig(scenes=200, shard_scenes=BATCH), Terminal(quiet=True))
    shard = tmp_path / "scenes-00001.npz"
    with np.load(shard) as held:
        write_npz(shard, {name: held[name] for name in held.files if name != "wavelength_m"})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["shards"][1]["sha256"] = sha256(shard)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SceneFileError, match="some of its shards hold elements_m or wavelength_m"):
        read_scenes(tmp_path)


def test_codes_that_the_package_impaired_count_as_measured(tmp_path):
    impaired = ImpairmentsConfig(amplitude_error_db=2.0, known=("amplitude_error",))
    write_scenes(tmp_path, _on(impaired), 1, SimulateConfig(scenes=5), Terminal(quiet=True))
    codes = read_scenes(tmp_path).observation.codes
    assert np.ptp(np.abs(codes)) > 0.1
    (chunk,) = scene_chunks(tmp_path, 8)
    assert chunk.observation is not None
    np.testing.assert_array_equal(chunk.observation.codes, codes)
    with pytest.raises(SceneFileError, match="codes holds moduli"):
        read_scenes(tmp_path / "scenes-00000.npz")


def test_scenes_written_before_a_setting_existed_are_continued(tmp_path):
    write_scenes(tmp_path, TINY, 1, SimulateConfig(scenes=5), Terminal(quiet=True))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["physics"]["codebook"]["measured"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    write_scenes(tmp_path, TINY, 1, SimulateConfig(scenes=5), Terminal(quiet=True))
    assert "measured" in json.loads((tmp_path / "manifest.json").read_text())["physics"]["codebook"]
