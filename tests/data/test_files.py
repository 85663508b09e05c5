"""Scene files: reading, and the errors of bad ones."""

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.io

from risjax.config import (
    ImpairmentsConfig,
    PhysicsConfig,
    SimulateConfig,
)
from risjax.data import layouts
from risjax.data.chunks import scene_chunks
from risjax.data.files import read_scenes, sha256
from risjax.data.layouts import SceneFile, SceneFileError
from risjax.data.simulate import BATCH, SceneDirectoryError, _batch, shard_arrays, write_scenes
from risjax.runs.terminal import Terminal
from risjax.types import Geometry, Sources
from tests.data.small import TINY

ORIGINAL = Path(__file__).parents[2] / "data" / "original"


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return shard_arrays(TINY, 0, 0, 6)


@pytest.fixture(scope="module")
def original() -> dict[str, np.ndarray]:
    with np.load(ORIGINAL / "shard.npz", allow_pickle=False) as shard:
        return {name: shard[name] for name in shard.files}


def _write(path: Path, arrays: dict[str, Any], **changes: Any) -> Path:
    """Write the arrays with the changes; a change to None leaves the array out."""
    np.savez(path, **{name: array for name, array in (arrays | changes).items() if array is not None})
    return path


def _sources(scenes: SceneFile) -> Sources:
    assert scenes.sources is not None, "the file has no labels"
    return scenes.sources


def _factor(scenes: SceneFile) -> np.ndarray:
    assert scenes.covariance_factor is not None, "the file has no label covariance"
    return scenes.covariance_factor


def test_written_scenes_are_read_back(arrays, tmp_path):
    scenes = read_scenes(_write(tmp_path / "a.npz", arrays))
    np.testing.assert_array_equal(scenes.observation.snapshots, arrays["snapshots"])
    assert scenes.observation.codes.shape == (6, 4, 4)
    np.testing.assert_array_equal(_sources(scenes).position, arrays["position"])
    np.testing.assert_array_equal(_sources(scenes).active, arrays["active"])
    np.testing.assert_array_equal(scenes.noise_variance, arrays["noise_variance"])
    np.testing.assert_allclose(_factor(scenes), arrays["label_factor"], rtol=1e-5)


def test_measurements_without_labels_are_scenes_without_sources(arrays, tmp_path):
    scenes = read_scenes(_write(tmp_path / "a.npz", {name: arrays[name] for name in ("snapshots", "channel", "codes")}))
    assert scenes.sources is None
    assert scenes.snr_db is None
    assert scenes.num_scenes == 6


def test_limit_cuts_every_array(arrays, tmp_path):
    scenes = read_scenes(_write(tmp_path / "a.npz", arrays), limit=2)
    lengths = {
        len(array) for array in (*scenes.observation[:3], *_sources(scenes), np.asarray(scenes.snr_db), _factor(scenes))
    }
    assert lengths == {2}
    with pytest.raises(ValueError, match="limit"):
        read_scenes(tmp_path / "a.npz", limit=0)


@pytest.mark.parametrize(("name", "count"), [("scenes", 160), ("clean", 8), ("shard", 4)])
def test_the_originals_files(name, count):
    scenes = read_scenes(ORIGINAL / f"{name}.npz")
    assert scenes.num_scenes == count
    assert _sources(scenes).position.shape == (count, 5, 3)
    assert (_sources(scenes).position[_sources(scenes).active][:, 2] >= 0.5).all()
    assert np.isnan(_sources(scenes).amplitude[_sources(scenes).active]).all() == (name != "clean")


def test_the_originals_label_is_normalised_to_trace_n(original):
    factor = _factor(read_scenes(ORIGINAL / "shard.npz"))
    covariance = original["R"][..., 0] + 1j * original["R"][..., 1]
    np.testing.assert_allclose(factor @ factor.conj().swapaxes(1, 2), covariance, atol=2e-4)
    np.testing.assert_allclose(np.sum(np.abs(factor) ** 2, axis=(1, 2)), 144, rtol=1e-5)


def _nan(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flat[7] = np.nan
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"channel": None}, "channel is missing"),
        (lambda a: {"snapshots": _nan(a["snapshots"])}, r"snapshots holds 1 values that are not finite, the first at"),
        (lambda a: {"channel": a["channel"][:, :1]}, r"channel has shape \[6, 1, 4\], expected \[S, M, N\] with M = 2"),
        (lambda a: {"codes": a["codes"][:3]}, r"codes has shape \[3, 4\].* with L = 4 as in snapshots"),
        (lambda a: {"snapshots": a["snapshots"].real}, "snapshots has dtype float32, expected complex"),
        (lambda a: {"active": a["active"].astype(str)}, "active has dtype <U5, expected bool"),
        (lambda a: {"active": a["active"] + 1}, "active holds int64, expected bool"),
        (lambda a: {"snapshots": a["snapshots"][0, 0]}, r"snapshots has shape \[2\], expected \[S, L, M\] or \[L, M\]"),
        (lambda a: {"snapshots": a["snapshots"][0]}, r"channel has shape \[6, 2, 4\], .* with S = 1 as in snapshots"),
        (lambda a: {"snapshots": a["snapshots"].real + 0j}, "snapshots has no imaginary part"),
        (lambda a: {"channel": a["channel"].real}, "channel has dtype float32, expected complex"),
        (lambda a: {"codes": np.angle(a["codes"])}, r"codes holds real numbers, .* phases in radians\?"),
        (lambda a: {"codes": 0.5 * a["codes"]}, r"codes holds moduli of 0\.5, expected 1; divide by 0\.5"),
        (
            lambda a: {"channel": a["channel"].T},
            r"channel has shape \[4, 2, 6\].*axes reversed\? axes=\{channel: NMS\} fits",
        ),
        (
            lambda a: {n: a[n].T for n in ("snapshots", "channel", "codes")},
            r"axes reversed\? axes=\{snapshots: MLS, channel",
        ),
        (
            lambda a: {"position": np.degrees(a["position"])},
            r"position holds an azimuth of .* rad, expected at most pi/2",
        ),
        (
            lambda a: {"position": a["position"] * [1, 1, 1000]},
            r"a range of \d+.* m, expected at most 1000 m; in milli",
        ),
        (lambda a: {"snapshots": a["snapshots"][:0]}, "S = 0"),
        (lambda a: {"position": a["position"] * 0}, "ranges are positive"),
    ],
)
def test_a_wrong_array_is_reported_with_what_it_is_and_what_is_expected(arrays, tmp_path, change, message):
    path = _write(tmp_path / "bad.npz", arrays, **change(arrays))
    with pytest.raises(SceneFileError, match=message) as error:
        read_scenes(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"H_full": a["H_full"][..., :1]}, r"H_full has shape .* expected \[S, M, N, 2\]"),
        (lambda a: {"ptr": a["ptr"][:, :14]}, r"ptr has shape \[4, 14\].*multiple of three"),
        (lambda a: {"K": a["K"] + 5}, "ptr has 5 slots"),
        (lambda a: {"codes": a["codes"][:, :8]}, "L = 16 as in y"),
        (lambda a: {"y": a["y"].astype(str)}, "y has dtype <U32, expected complex numbers"),
    ],
)
def test_a_wrong_array_of_the_originals_layout_is_reported(original, tmp_path, change, message):
    with pytest.raises(SceneFileError, match=message):
        read_scenes(_write(tmp_path / "bad.npz", original, **change(original)))


def test_every_problem_is_listed_at_once(arrays, tmp_path):
    path = _write(tmp_path / "bad.npz", arrays, channel=None, codes=None)
    with pytest.raises(SceneFileError, match="channel is missing; codes is missing"):
        read_scenes(path)
    _write(path, arrays, snr_db=np.zeros(5), position=np.zeros((6, 2)))
    with pytest.raises(SceneFileError, match=r"position has shape .*; snr_db has shape \[5\]"):
        read_scenes(path)
    _write(path, arrays, snapshots=_nan(arrays["snapshots"]), channel=_nan(arrays["channel"]))
    with pytest.raises(SceneFileError, match=r"snapshots holds 1 values .*; channel holds 1 values"):
        read_scenes(path)


def test_truncated_and_foreign_files(arrays, tmp_path):
    whole = _write(tmp_path / "a.npz", arrays).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"hello", whole[: len(whole) // 3] + whole[len(whole) // 2 :]):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(SceneFileError, match=r"bad\.npz"):
            read_scenes(tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError, match="no such scene file"):
        read_scenes(tmp_path / "none.npz")
    with pytest.raises(SceneFileError, match="not a scene file: it contains weights"):
        read_scenes(_write(tmp_path / "other.npz", {"weights": np.ones(3)}))


def test_flipped_bytes_are_detected_by_the_archives_checksum(arrays, tmp_path):
    path = _write(tmp_path / "a.npz", arrays)
    content = bytearray(path.read_bytes())
    start = content.index(arrays["snapshots"].tobytes()[:16])
    content[start + 3] ^= 0x10
    path.write_bytes(bytes(content))
    with pytest.raises(SceneFileError, match="CRC"):
        read_scenes(path)


def test_object_arrays_are_refused_unopened(arrays, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    path = _write(tmp_path / "bad.npz", arrays, codes=np.array([Bomb()], dtype=object))
    with pytest.raises(SceneFileError, match="codes is an object array, which only unpickling could read; refused"):
        read_scenes(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("y.npy", bytes(1000))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 0xFFFFFFF0)  # 4 GiB, thrice
    path.write_bytes(bytes(content))
    with pytest.raises(SceneFileError):
        read_scenes(path)


def test_an_archive_that_unpacks_to_too_many_bytes_is_refused(arrays, tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "MAX_UNPACKED_BYTES", 1 << 20)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, **(arrays | {"noise_variance": np.zeros(4 << 20, np.uint8)}))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(SceneFileError, match=r"unpack to \d+ bytes; the most allowed is 1048576"):
        read_scenes(path)


def test_a_header_that_claims_more_than_the_member_holds_is_refused(arrays, tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<c8", "fortran_order": False, "shape": (1 << 40,)})
    path = _write(tmp_path / "bad.npz", {name: array for name, array in arrays.items() if name != "snapshots"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("snapshots.npy", header.getvalue() + bytes(64))
    with pytest.raises(SceneFileError, match=r"snapshots claims shape \[1099511627776\]"):
        read_scenes(path)


def test_matlab_v5_files(arrays, tmp_path):
    """MATLAB has doubles, matrices and no booleans."""
    matlab = {name: (array.astype(float) if array.dtype.kind in "bf" else array) for name, array in arrays.items()}
    scipy.io.savemat(tmp_path / "a.mat", matlab | {"comment": "by hand", "extra": {"a": 1}})
    scenes, expected = read_scenes(tmp_path / "a.mat"), read_scenes(_write(tmp_path / "a.npz", arrays))
    np.testing.assert_array_equal(scenes.observation.snapshots, expected.observation.snapshots)
    np.testing.assert_array_equal(scenes.observation.codes, expected.observation.codes)
    np.testing.assert_array_equal(_sources(scenes).active, _sources(expected).active)
    np.testing.assert_array_equal(scenes.snr_db, expected.snr_db)
    (tmp_path / "bad.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:300])
    with pytest.raises(SceneFileError, match=r"bad\.mat: not a MATLAB v5 file"):
        read_scenes(tmp_path / "bad.mat")
    scipy.io.savemat(tmp_path / "struct.mat", matlab | {"codes": {"a": 1}})
    with pytest.raises(SceneFileError, match="codes is a struct, a cell or text"):
        read_scenes(tmp_path / "struct.mat")


def test_matlab_v5_files_of_the_originals_layout(original, tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {name: array.astype(float) for name, array in original.items()})
    scenes, expected = read_scenes(tmp_path / "a.mat"), read_scenes(ORIGINAL / "shard.npz")
    np.testing.assert_array_equal(scenes.observation.channel, expected.observation.channel)
    np.testing.assert_array_equal(_sources(scenes).position, _sources(expected).position)


def test_matlab_v73_files(arrays, tmp_path):
    h5py = pytest.importorskip("h5py", reason="MATLAB v7.3 files need h5py (pip install risjax[matlab])")
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as archive:
        for name, array in arrays.items():
            value = array.T
            if array.dtype.kind == "c":
                value = np.zeros(array.T.shape, [("real", "f4"), ("imag", "f4")])
                value["real"], value["imag"] = array.T.real, array.T.imag
            archive[name] = np.atleast_2d(value.astype("u1") if array.dtype.kind == "b" else value)
    scenes = read_scenes(tmp_path / "a.mat")
    np.testing.assert_array_equal(scenes.observation.snapshots, arrays["snapshots"])
    np.testing.assert_array_equal(_sources(scenes).active, arrays["active"])


def test_matlab_v73_without_h5py_is_an_error_that_names_the_package(tmp_path):
    try:
        import h5py  # noqa: F401
    except ImportError:
        (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
        with pytest.raises(SceneFileError, match=r"pip install 'risjax\[matlab\]'"):
            read_scenes(tmp_path / "a.mat")
    else:
        pytest.skip("h5py is installed")


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
        (lambda a: {"elements_m": _nan(a["elements_m"])}, "elements_m holds 1 values that are not finite"),
        (lambda a: {"wavelength_m": a["wavelength_m"][:, None]}, r"wavelength_m has shape \[6, 1\], expected \[S\]"),
        (lambda a: {"wavelength_m": -a["wavelength_m"]}, "wavelength_m holds -0.3.* m; wavelengths are positive"),
    ],
)
def test_a_wrong_geometry_is_reported(tmp_path, change, message):
    arrays = shard_arrays(_on(EVERYWHERE), 0, 0, 6)
    with pytest.raises(SceneFileError, match=message):
        read_scenes(_write(tmp_path / "bad.npz", arrays, **change(arrays)))


def test_shards_with_and_without_a_geometry_do_not_mix(tmp_path):
    write_scenes(tmp_path, _on(EVERYWHERE), 1, SimulateConfig(scenes=200, shard_scenes=BATCH), Terminal(quiet=True))
    shard = tmp_path / "scenes-00001.npz"
    with np.load(shard) as held:
        _write(shard, {name: held[name] for name in held.files if name != "wavelength_m"})
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
