"""Opening ``.npz`` and MATLAB files without trusting them.

An archive's members are measured from their headers before a byte of data is unpacked; object arrays, which only
unpickling could read, are refused; nothing here unpickles.
"""

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from risjax.data.layouts import ORIGINAL, OWN, ArraySpec, SceneFileError, layout_of

MAX_UNPACKED_BYTES = 8 << 30
"""Larger than any shard of ours; an archive that claims more is refused before a byte of data is unpacked."""
KNOWN = frozenset(OWN) | frozenset(ORIGINAL)


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """The known arrays of an ``.npz`` archive; others are not unpacked.

    Raises:
        SceneFileError: a truncated or damaged archive, object arrays, a size that is not what the header says.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            _check_total({name: info.file_size for name, info in members.items()}, file)
            wanted = {name: info for name, info in members.items() if name in KNOWN}
            if not wanted:
                layout_of(members, str(file))
            return {name: _read_member(archive, info, name, file) for name, info in wanted.items()}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise SceneFileError(f"{file}: not an .npz archive, or a truncated or damaged one ({error})") from error


def _check_total(sizes: Mapping[str, int], file: Path) -> None:
    total = sum(sizes.values())
    if total > MAX_UNPACKED_BYTES:
        raise SceneFileError(f"{file}: claims to unpack to {total} bytes; the most allowed is {MAX_UNPACKED_BYTES}")


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, file: Path) -> np.ndarray:
    with archive.open(info) as stream:
        shape, fortran, dtype = open_member(stream, info, name, file)
        held = info.file_size - stream.tell()
        data = stream.read(held + 1)  # to the end, so that the archive's checksum is compared
    if len(data) != held:
        raise SceneFileError(f"{file}: {name} unpacks to {len(data)} bytes, its directory entry says {held}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def open_member(stream: Any, info: zipfile.ZipInfo, name: str, file: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype of a member, whose stream then stands at its data.

    Raises:
        SceneFileError: no readable header, object arrays, a size that is not what the header says.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except ValueError as error:
        raise SceneFileError(f"{file}: {name} has no readable header ({error})") from error
    if dtype.hasobject:
        raise SceneFileError(f"{file}: {name} is an object array, which only unpickling could read; refused")
    expected, held = math.prod(shape) * dtype.itemsize, info.file_size - stream.tell()
    if expected != held:
        raise SceneFileError(
            f"{file}: {name} claims shape {list(shape)} of {dtype}, {expected} bytes, and holds {held}; truncated?"
        )
    return shape, fortran, dtype


def read_mat(file: Path) -> dict[str, np.ndarray]:
    """The known variables of a MATLAB file, v5 through scipy or v7.3 through h5py, in the dtypes of their layout.

    Raises:
        SceneFileError: a damaged file, structs or cells, or a v7.3 file where h5py is not installed.
    """
    raw = _read_hdf5(file) if is_hdf5(file) else _read_mat5(file)
    layout = layout_of(raw, str(file))
    return {name: fit(array, layout[name], name, file) for name, array in raw.items() if name in layout}


def is_hdf5(file: Path) -> bool:
    """Whether a MATLAB file is of v7.3, an HDF5 file, by its header."""
    with file.open("rb") as stream:
        header = stream.read(520)
    return b"MATLAB 7.3" in header[:128] or b"\x89HDF" in header


def _read_mat5(file: Path) -> dict[str, np.ndarray]:
    import scipy.io

    try:
        held = {name: math.prod(shape) for name, shape, _ in scipy.io.whosmat(file)}
        _check_total({name: 16 * count for name, count in held.items()}, file)
        variables = scipy.io.loadmat(file, variable_names=sorted(KNOWN & held.keys()))
    except Exception as error:  # scipy's reader raises nearly anything on damaged bytes
        raise SceneFileError(f"{file}: not a MATLAB v5 file, or a truncated or damaged one ({error})") from error
    if not KNOWN & held.keys():
        layout_of(held, str(file))
    return {name: value for name, value in variables.items() if name in KNOWN}


def _read_hdf5(file: Path) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError as error:
        raise SceneFileError(
            f"{file}: a MATLAB v7.3 file needs h5py: pip install 'risjax[matlab]' (or save it with -v7)"
        ) from error
    try:
        with h5py.File(file, "r") as archive:
            members = {name: archive[name] for name in archive if name in KNOWN}
            if not members:
                layout_of(list(archive), str(file))
            datasets: dict[str, h5py.Dataset] = {}
            for name, member in members.items():
                if not isinstance(member, h5py.Dataset) or member.dtype.hasobject:
                    raise SceneFileError(f"{file}: {name} is a struct or a cell, expected a numeric array")
                datasets[name] = member
            _check_total({name: dataset.size * dataset.dtype.itemsize for name, dataset in datasets.items()}, file)
            # MATLAB writes column-major data that HDF5 shows with its axes reversed
            return {name: to_complex(dataset[()]).T for name, dataset in datasets.items()}
    except (OSError, KeyError, RuntimeError) as error:
        raise SceneFileError(f"{file}: not a MATLAB v7.3 file, or a truncated or damaged one ({error})") from error


def to_complex(array: Any) -> np.ndarray:
    """MATLAB v7.3's pairs of real and imaginary part as complex numbers; other arrays as they are."""
    array = np.asarray(array)
    if array.dtype.names and set(array.dtype.names) == {"real", "imag"}:
        return array["real"] + 1j * array["imag"]
    return array


def fit(array: np.ndarray, spec: ArraySpec, name: str, file: Path) -> np.ndarray:
    """Undoes what MATLAB does to arrays: no vectors, no trailing axes of one, doubles for everything."""
    if array.dtype.kind not in "fciub":
        raise SceneFileError(f"{file}: {name} is a struct, a cell or text, expected a numeric array")
    rank = len(spec.shape)
    if rank == 1:
        array = array.reshape(-1) if 1 in array.shape else array
    elif array.ndim < rank and not _is_shared(name, array, rank):
        array = array.reshape(array.shape + (1,) * (rank - array.ndim))
    if spec.kind == "integer" and array.dtype.kind == "f" and (array == np.round(array)).all():
        return array.astype(np.int64)
    if spec.kind == "bool" and np.isin(array, (0, 1)).all():
        return array.astype(bool)
    if spec.kind == "complex" and array.dtype.kind in "fiu":
        return array.astype(np.complex64)
    if spec.kind == "float" and array.dtype.kind in "iu":
        return array.astype(np.float32)
    return array


def _is_shared(name: str, array: np.ndarray, rank: int) -> bool:
    return name == "codes" and array.ndim == rank - 1
