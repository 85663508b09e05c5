"""Measurements in parts: the same scenes from every kind of file, bad ones reported, in bounded memory."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.io

from risjax.config import SimulateConfig
from risjax.data import hdf5
from risjax.data.chunks import count_scenes, scene_chunks
from risjax.data.files import read_scenes
from risjax.data.layouts import SceneFileError
from risjax.data.simulate import write_scenes
from risjax.runs.terminal import Terminal
from tests.tiny import tiny_config

L, M, N = 4, 3, 5


def arrays(count: int, *, shared_codes: bool = False) -> dict[str, Any]:
    generator = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return (generator.normal(size=shape) + 1j * generator.normal(size=shape)).astype(np.complex64)

    codes = draw(L, N) if shared_codes else draw(count, L, N)
    codes /= np.abs(codes)
    return {"snapshots": draw(count, L, M), "channel": draw(count, M, N), "codes": codes}


def geometry(count: int) -> dict[str, Any]:
    generator = np.random.default_rng(1)
    return {"elements_m": generator.normal(size=(count, N, 2)), "wavelength_m": generator.uniform(0.2, 0.4, count)}


def write_hdf5(path: Path, values: dict[str, np.ndarray]) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in values.items():
            file[name] = _compound(array.T) if array.dtype.kind == "c" else np.atleast_2d(array.T)


def _compound(array: np.ndarray) -> np.ndarray:
    out = np.empty(array.shape, [("real", "<f8"), ("imag", "<f8")])
    out["real"], out["imag"] = np.real(array), np.imag(array)
    return out


@pytest.mark.parametrize("surface", [(), ("elements_m", "wavelength_m")], ids=["nominal", "measured"])
@pytest.mark.parametrize("shared_codes", [False, True])
@pytest.mark.parametrize("kind", ["npz", "compressed", "fortran", "mat5", "mat73"])
def test_chunks_are_the_scenes_of_the_file(
    tmp_path: Path, kind: str, shared_codes: bool, surface: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "BLOCK_BYTES", 16 * N * M * 3)
    values, path = arrays(11, shared_codes=shared_codes), tmp_path / ("scenes.mat" if "mat" in kind else "scenes.npz")
    values |= {name: array for name, array in geometry(11).items() if name in surface}
    match kind:
        case "npz":
            np.savez(path, **values)
        case "compressed":
            np.savez_compressed(path, **values)
        case "fortran":
            in_columns: dict[str, Any] = {name: np.asfortranarray(array) for name, array in values.items()}
            np.savez(path, **in_columns)
        case "mat5":
            scipy.io.savemat(path, values)
        case "mat73":
            write_hdf5(path, values)
    expected = read_scenes(path).observation
    assert count_scenes(path) == 11
    for start in (0, 4, 8):
        found = list(scene_chunks(path, 4, start=start))
        assert [(chunk.first, chunk.count) for chunk in found] == [(0, 4), (4, 4), (8, 3)][start // 4 :]
        assert not any(chunk.reasons for chunk in found)
        got = jax.tree.map(lambda *parts: np.concatenate(parts), *(chunk.observation for chunk in found))
        assert jax.tree.structure(got) == jax.tree.structure(expected)
        for array, wanted in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(array, wanted[start:])
        assert [array.dtype for array in got[:3]] == [np.complex64] * 3
        assert [array.dtype for array in jax.tree.leaves(got.geometry)] == [np.float32] * len(surface)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_chunks_from_the_middle_of_a_file_whose_scenes_exceed_a_read_buffer(tmp_path: Path, save: Callable) -> None:
    """Python 3.12.0 to 3.13.1 mix up members of an archive that are read in turns (python/cpython#127847)."""
    generator = np.random.default_rng(0)
    shapes = {"snapshots": (9, 8, 40), "channel": (9, 40, 50), "codes": (9, 8, 50)}
    values = {name: (generator.normal(size=shape) + 1j).astype(np.complex64) for name, shape in shapes.items()}
    values["codes"] /= np.abs(values["codes"])
    save(tmp_path / "scenes.npz", **values)
    for start in (2, 4, 6):
        for chunk in scene_chunks(tmp_path / "scenes.npz", 2, start=start):
            assert chunk.observation is not None
            for name, array in values.items():
                rows = array[chunk.first : chunk.first + chunk.count]
                np.testing.assert_array_equal(getattr(chunk.observation, name), rows)


def test_a_signalling_nan_is_reported_without_a_warning(tmp_path: Path) -> None:
    values = arrays(2)
    values["channel"].view(np.uint32)[1, 0, 0] = 0x7FA00000
    np.savez(tmp_path / "scenes.npz", **values)
    (chunk,) = scene_chunks(tmp_path / "scenes.npz", 2)
    assert chunk.reasons == {1: f"channel holds 1 of {M * N} values that are not finite"}


def test_a_bad_scene_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    values = {name: array.astype(np.complex128) for name, array in arrays(6).items()}
    values["snapshots"][1, 2, 0] = np.nan
    values["channel"][3] = 0
    values["codes"][4, 0, 0] = 1e300  # overflows complex64
    values |= geometry(6)
    values["elements_m"][0, 2, 1] = np.inf
    values["wavelength_m"][5] = -0.3
    np.savez(tmp_path / "scenes.npz", **values)
    found = list(scene_chunks(tmp_path / "scenes.npz", 4))
    assert {scene: reason for chunk in found for scene, reason in chunk.reasons.items()} == {
        0: f"elements_m holds 1 of {2 * N} values that are not finite",
        5: "wavelength_m is -0.3 m; wavelengths are positive",
        1: f"snapshots holds 1 of {L * M} values that are not finite",
        3: "channel is all zero",
        4: f"codes holds 1 of {L * N} values that are not finite",
    }
    assert [chunk.count for chunk in found] == [4, 2]


def test_a_damaged_shard_loses_only_its_scenes(tmp_path: Path) -> None:
    write_scenes(
        tmp_path / "s", tiny_config().physics, 0, SimulateConfig(scenes=300, shard_scenes=128), Terminal(quiet=True)
    )
    expected = read_scenes(tmp_path / "s").observation.snapshots
    shard = tmp_path / "s" / "scenes-00001.npz"
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    (tmp_path / "s" / "scenes-00002.npz").unlink()
    assert count_scenes(tmp_path / "s") == 300
    found = list(scene_chunks(tmp_path / "s", 100))
    assert [(chunk.first, chunk.count) for chunk in found] == [(0, 100), (100, 28), (128, 100), (228, 28), (256, 44)]
    np.testing.assert_array_equal(
        np.concatenate([chunk.observation.snapshots for chunk in found if chunk.observation]), expected[:128]
    )
    reasons = {scene: reason for chunk in found for scene, reason in chunk.reasons.items()}
    assert sorted(reasons) == list(range(128, 300))
    assert "checksum" in reasons[128]
    assert "missing" in reasons[299]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(FileNotFoundError):
        count_scenes(path)
    path.write_bytes(b"PK nothing")
    with pytest.raises(SceneFileError, match="damaged"):
        count_scenes(path)
    values = arrays(3)
    np.savez(path, snapshots=values["snapshots"], codes=values["codes"])
    with pytest.raises(SceneFileError, match="channel is missing"):
        count_scenes(path)
    np.savez(path, **(values | {"channel": values["channel"][..., :4]}))
    with pytest.raises(SceneFileError, match="with N = 4 as in channel"):
        list(scene_chunks(path, 2))
    np.savez(path, **(values | {"channel": values["channel"][:2]}))
    with pytest.raises(SceneFileError, match=r"channel has shape \[2, 3, 5\].* with S = 3 as in snapshots"):
        list(scene_chunks(path, 4))
    np.savez(path, **(values | {"elements_m": geometry(3)["elements_m"][..., :1]}))
    with pytest.raises(SceneFileError, match=r"elements_m has shape \[3, 5, 1\], expected \[S, N, 2\]"):
        list(scene_chunks(path, 2))


MEASURED = """
import resource, sys, numpy as np
from risjax.data.chunks import scene_chunks
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = sum(float(np.abs(chunk.observation.snapshots).sum()) for chunk in scene_chunks(sys.argv[1], 64))
print(total, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_stays_flat(tmp_path: Path) -> None:
    count = 12_000
    values: dict[str, Any] = {
        "snapshots": np.full((count, 16, 64), 1j, np.complex64),
        "channel": np.broadcast_to(np.full((1, 64, 5), 1j, np.complex64), (count, 64, 5)),
        "codes": np.ones((16, 5), np.complex64),
    }
    path = tmp_path / "large.npz"
    np.savez_compressed(path, **values)
    done = subprocess.run([sys.executable, "-c", MEASURED, path], capture_output=True, text=True, check=True)
    total, megabytes = map(float, done.stdout.split())
    assert total == pytest.approx(count * 16 * 64)
    unpacked = sum(array.size * array.itemsize for array in values.values()) / 2**20
    assert unpacked > 120
    assert megabytes < 15, f"{megabytes} MB more for a file of {unpacked:.0f} MB"
