"""Files of other programs: names, structs, axes and complex numbers."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from risjax.data.chunks import count_scenes, scene_chunks
from risjax.data.files import read_scenes
from risjax.data.layouts import SceneFileError
from risjax.data.measurements import Reading

ROOT = Path(__file__).parents[2]
S, L, M, N = 7, 4, 3, 5


def draw(*shape: int) -> np.ndarray:
    generator = np.random.default_rng(len(shape))
    return (generator.normal(size=shape) + 1j * generator.normal(size=shape)).astype(np.complex64)


Y, H = draw(S, L, M), draw(S, M, N)
CODES = np.exp(1j * np.random.default_rng(0).uniform(-3, 3, (L, N))).astype(np.complex64)


def pair(array: np.ndarray) -> np.ndarray:
    """A trailing axis of real and imaginary part."""
    return np.stack([np.real(array), np.imag(array)], -1)


def fields(array: np.ndarray, names: tuple[str, str], dtype: str) -> np.ndarray:
    """A structured dtype of two fields."""
    out = np.empty(array.shape, [(names[0], dtype), (names[1], dtype)])
    out[names[0]], out[names[1]] = np.real(array), np.imag(array)
    return out


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def mat(path: Path, **arrays: Any) -> Path:
    scipy.io.savemat(path, arrays)
    return path


def hdf5(path: Path, **arrays: Any) -> Path:
    """Groups for dicts, references for lists, as MATLAB v7.3 writes structs and cells."""
    h5py = pytest.importorskip("h5py", reason="HDF5 files need h5py (pip install risjax[matlab])")
    is_matlab = path.suffix == ".mat"

    def put(group: Any, name: str, value: Any) -> None:
        if isinstance(value, dict):
            inner = group.create_group(name)
            for key, entry in value.items():
                put(inner, key, entry)
        elif isinstance(value, list):
            cells = group.file.require_group("#refs#")
            references = []
            for entry in value:
                key = f"{name}{len(cells)}"
                put(cells, key, entry)
                references.append(cells[key].ref)
            group.create_dataset(name, data=np.array([references], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
        else:
            value = value.T if is_matlab else value
            group[name] = fields(value, ("real", "imag"), "f4") if is_matlab and value.dtype.kind == "c" else value

    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            put(file, name, value)
    return path


def cells(array: np.ndarray) -> np.ndarray:
    """A cell array with a cell for each scene."""
    out = np.empty(len(array), object)
    out[:] = list(array)
    return out


STRUCT = {"snapshots": "meas.Y", "channel": "meas.link.H", "codes": "C"}
MEAS = {"Y": Y, "link": {"H": H}}
INTEGERS = np.round(1000 * pair(Y)).astype(np.int16)

FILES: dict[str, tuple[Callable[[Path], Path], Reading]] = {
    "the API's names": (lambda p: npz(p / "a.npz", y=Y, H=H, codes=CODES), Reading()),
    "trailing axis": (lambda p: npz(p / "a.npz", y=pair(Y), H=pair(H), codes=pair(CODES)), Reading()),
    "int16 pair": (lambda p: npz(p / "a.npz", y=INTEGERS, H=H, codes=CODES), Reading()),
    "int16 fields": (
        lambda p: npz(p / "a.npz", y=fields(1000 * Y, ("I", "Q"), "i2"), H=H, codes=CODES),
        Reading(),
    ),
    "two variables": (
        lambda p: npz(p / "a.npz", yi=np.real(Y), yq=np.imag(Y), H=H, codes=CODES),
        Reading(names={"snapshots": ["yi", "yq"]}),
    ),
    "own names": (
        lambda p: npz(p / "a.npz", received=Y, link=H, theta=CODES),
        Reading(names={"snapshots": "received", "channel": "link", "codes": "theta"}),
    ),
    "scenes last": (
        lambda p: npz(p / "a.npz", y=np.moveaxis(Y, 0, 2), H=np.moveaxis(H, 0, 2), codes=CODES),
        Reading(axes={"snapshots": "LMS", "channel": "M N S"}),
    ),
    "parts first": (
        lambda p: npz(p / "a.npz", y=np.moveaxis(pair(Y), -1, 0), H=H, codes=CODES),
        Reading(axes={"snapshots": "CSLM"}),
    ),
    "struct": (lambda p: mat(p / "a.mat", meas=MEAS, C=CODES), Reading(names=STRUCT)),
    "cells": (lambda p: mat(p / "a.mat", Y=cells(Y), H=cells(H), codes=CODES), Reading(names={"snapshots": "Y"})),
    "cells in a struct": (
        lambda p: mat(p / "a.mat", meas={"Y": cells(Y), "link": {"H": cells(H)}}, C=CODES),
        Reading(names=STRUCT),
    ),
    "struct of v7.3": (lambda p: hdf5(p / "a.mat", meas=MEAS, C=CODES), Reading(names=STRUCT)),
    "cells of v7.3": (
        lambda p: hdf5(p / "a.mat", meas={"Y": list(Y), "link": {"H": list(H)}}, C=CODES),
        Reading(names=STRUCT),
    ),
    "h5": (lambda p: hdf5(p / "a.h5", y=Y, H=H, codes=CODES), Reading()),
    "h5 groups": (lambda p: hdf5(p / "a.hdf5", meas=MEAS, C=pair(CODES)), Reading(names=STRUCT)),
    "h5 scenes last": (
        lambda p: hdf5(p / "a.h5", y=np.moveaxis(Y, 0, 2), H=H, codes=CODES),
        Reading(axes={"snapshots": "LMS"}),
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_file_contains_the_same_scenes(kind: str, tmp_path: Path) -> None:
    write, reading = FILES[kind]
    path = write(tmp_path)
    whole = read_scenes(path, names=reading.names, axes=reading.axes).observation
    chunks = list(scene_chunks(path, 3, reading=reading))
    assert count_scenes(path, reading) == S
    assert [chunk.count for chunk in chunks] == [3, 3, 1]
    observed = [chunk.observation[:3] for chunk in chunks if chunk.observation]
    in_parts = [np.concatenate(parts) for parts in zip(*observed, strict=True)]
    scale = 1000 if "int16" in kind else 1
    for got, parts, wanted in zip(whole[:3], in_parts, (Y, H, np.broadcast_to(CODES, (S, L, N))), strict=True):
        assert got.dtype == np.complex64
        np.testing.assert_array_equal(got, parts)
        if scale == 1 or wanted is not Y:
            np.testing.assert_array_equal(got, wanted)
        else:
            np.testing.assert_allclose(got, scale * wanted, atol=1.5)


@pytest.mark.parametrize("write", [npz, mat, hdf5], ids=["npz", "mat", "h5"])
def test_a_single_scene_needs_no_axis_of_scenes(write: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / {npz: "a.npz", mat: "a.mat", hdf5: "a.h5"}[write]
    write(path, y=Y[0], H=H[0], codes=CODES, elements_m=np.arange(10.0).reshape(5, 2), position=np.ones((2, 3)),
          active=np.array([1.0, 0.0]))  # fmt: skip
    scenes = read_scenes(path)
    assert scenes.num_scenes == count_scenes(path) == 1
    np.testing.assert_array_equal(scenes.observation.snapshots, Y[:1])
    np.testing.assert_array_equal(scenes.observation.channel, H[:1])
    assert scenes.observation.geometry is not None
    assert np.asarray(scenes.observation.geometry.elements_m).shape == (1, 5, 2)
    assert scenes.sources is not None
    np.testing.assert_array_equal(scenes.sources.active, [[True, False]])


def test_a_channel_shared_by_all_scenes(tmp_path: Path) -> None:
    scenes = read_scenes(npz(tmp_path / "a.npz", y=Y, H=H[0], codes=CODES))
    np.testing.assert_array_equal(scenes.observation.channel, np.stack([H[0]] * S))


def test_signs_of_any_real_dtype_are_codes(tmp_path: Path) -> None:
    signs = np.where(CODES.real > 0, 1, -1)
    for dtype in (np.int8, np.float64):
        scenes = read_scenes(npz(tmp_path / "a.npz", y=Y, H=H, codes=signs.astype(dtype)))
        np.testing.assert_array_equal(scenes.observation.codes[0], signs)
    np.testing.assert_array_equal(
        read_scenes(mat(tmp_path / "a.mat", y=Y, H=H, codes=signs)).observation.codes[0], signs
    )


@pytest.mark.parametrize("write", [npz, mat, hdf5], ids=["npz", "mat", "h5"])
def test_codes_other_than_reflection_coefficients_are_refused_unless_measured(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / {npz: "a.npz", mat: "a.mat", hdf5: "a.h5"}[write]
    for given, words in ((np.angle(CODES), "phases in radians"), (0.8 * CODES, r"moduli of 0\.8")):
        write(path, y=Y, H=H, codes=given)
        with pytest.raises(SceneFileError, match=rf"a\.\w+: codes holds .*{words}"):
            read_scenes(path)
        with pytest.raises(SceneFileError, match=words):
            list(scene_chunks(path, 3))
    measured = read_scenes(path, codes_measured=True).observation.codes
    np.testing.assert_allclose(measured[0], 0.8 * CODES, rtol=1e-6)


@pytest.mark.parametrize("write", [mat, hdf5], ids=["mat", "h5"])
def test_measurements_without_an_imaginary_part_are_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / {mat: "a.mat", hdf5: "a.h5"}[write]
    for name in ("y", "H"):
        write(path, **({"y": Y, "H": H, "codes": CODES} | {name: np.real({"y": Y, "H": H}[name]).astype(float)}))
        with pytest.raises(SceneFileError, match=f"{name} has dtype float64, expected complex"):
            read_scenes(path)


def test_reversed_axes_of_another_program_are_recognised(tmp_path: Path) -> None:
    """MATLAB v7.3 files from h5py, and .h5 files from MATLAB's h5write, have the order of the other program."""
    path = hdf5(tmp_path / "a.h5", y=Y.T, H=H.T, codes=CODES.T)
    with pytest.raises(SceneFileError, match=r"axes reversed\? axes=\{snapshots: MLS, channel: NMS, codes: NL\} fits"):
        read_scenes(path)
    scenes = read_scenes(path, axes={"snapshots": "MLS", "channel": "NMS", "codes": "NL"})
    np.testing.assert_array_equal(scenes.observation.snapshots, Y)


def test_errors_name_the_array_of_the_file(tmp_path: Path) -> None:
    path = mat(tmp_path / "a.mat", meas={"Y": Y[0], "H": H[0][:2]}, codes=CODES)
    names = {"snapshots": "meas.Y", "channel": "meas.H"}
    with pytest.raises(SceneFileError, match=r"meas\.H has shape \[2, 5\], expected .*M = 3 as in meas\.Y"):
        read_scenes(path, names=names)
    with pytest.raises(SceneFileError, match=r"meas\.H has shape \[2, 5\]"):
        list(scene_chunks(path, 2, reading=Reading(names)))


@pytest.mark.parametrize(
    ("names", "axes", "words"),
    [
        ({"snapshots": "meas.Z"}, {}, r"no variable meas\.Z for snapshots; the file contains C, meas"),
        ({"snapshots": "meas"}, {}, "meas is a struct, .* with the fields Y, link; name one as meas.Y"),
        ({"snapshot": "meas.Y"}, {}, "names has the unknown key snapshot, .*; did you mean snapshots"),
        (STRUCT | {"snapshots": ["meas.Y", "C"]}, {}, "meas.Y has dtype complex64, expected real numbers of a pair"),
        (STRUCT, {"snapshots": "LM"}, r"meas\.Y has shape \[7, 4, 3\], expected 2 axes as in LM"),
        (STRUCT, {"snapshots": "SLX"}, "axes of snapshots are 'SLX', expected the letters SLM"),
    ],
)
def test_names_and_axes_absent_from_the_file_are_refused(names: Any, axes: Any, words: str, tmp_path: Path) -> None:
    path = mat(tmp_path / "a.mat", meas=MEAS, C=CODES)
    with pytest.raises(SceneFileError, match=words):
        read_scenes(path, names=names, axes=axes)


def test_cells_of_several_shapes_are_refused(tmp_path: Path) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [Y[0], Y[1][:2]]
    path = mat(tmp_path / "a.mat", y=ragged, H=H, codes=CODES)
    with pytest.raises(SceneFileError, match=r"y is a cell array of the shapes \[2, 3\], \[4, 3\], expected one shape"):
        read_scenes(path)


def test_matlab_drops_the_axis_of_a_single_antenna(tmp_path: Path) -> None:
    scenes = read_scenes(mat(tmp_path / "a.mat", y=Y[:, :, 0], H=H[:, :1], codes=CODES))
    np.testing.assert_array_equal(scenes.observation.snapshots, Y[:, :, :1])


LINES = re.findall(r"`(read_scenes\(.*\))` \|$", (ROOT / "docs" / "bring-your-file.md").read_text(), re.MULTILINE)
DOCUMENTED: dict[str, Callable[[Path], Path]] = {
    "plain.npz": lambda p: npz(p, snapshots=Y, channel=H, codes=CODES),
    "names.npz": lambda p: npz(p, received=Y, G=H, theta=CODES),
    "packed.npz": lambda p: npz(p, y=INTEGERS, H=pair(H), codes=CODES),
    "fields.npz": lambda p: npz(p, y=fields(Y, ("I", "Q"), "f4"), H=H, codes=CODES),
    "pair.npz": lambda p: npz(p, y_i=np.real(Y), y_q=np.imag(Y), H=H, codes=CODES),
    "last.npz": lambda p: npz(p, y=np.moveaxis(Y, 0, 2), H=np.moveaxis(H, 0, 2), codes=CODES),
    "single.npz": lambda p: npz(p, y=Y[0], H=H[0], codes=CODES),
    "plain.mat": lambda p: mat(p, y=Y, H=H, codes=CODES),
    "struct.mat": lambda p: mat(p, meas={"Y": Y, "H": H}, codes=CODES),
    "cells.mat": lambda p: mat(p, Y=cells(Y), H=cells(H), codes=CODES),
    "groups.h5": lambda p: hdf5(p, meas={"Y": Y, "H": H}, codes=CODES),
    "reversed.h5": lambda p: hdf5(p, y=Y.T, H=H.T, codes=CODES.T),
    "measured.npz": lambda p: npz(p, y=Y, H=H, codes=0.8 * CODES),
}


@pytest.mark.parametrize("line", LINES)
def test_the_lines_of_the_documentation_read_their_files(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = line.split('"')[1]
    if name == "scenes":
        pytest.skip("directories of simulate: test_files.py")
    monkeypatch.chdir(tmp_path)
    DOCUMENTED[name](tmp_path / name)
    observation = eval(line, {"read_scenes": read_scenes}).observation
    count, scale = (1 if name == "single.npz" else S), (1000 if name == "packed.npz" else 1)
    np.testing.assert_allclose(observation.snapshots, scale * Y[:count], atol=1.5 if scale > 1 else 0)
    np.testing.assert_array_equal(observation.channel, H[:count])


def test_every_documented_file_is_tested() -> None:
    assert {line.split('"')[1] for line in LINES} == {*DOCUMENTED, "scenes"}
