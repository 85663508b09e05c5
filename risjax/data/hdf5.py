"""Opening HDF5 files: MATLAB v7.3 and any other program's ``.h5``, read through h5py in blocks.

``meas.Y`` is the dataset Y of the group meas, as MATLAB stores a struct. A dataset of references, as MATLAB stores a
cell array, is stacked along a new first axis. MATLAB writes column-major data, whose axes HDF5 shows
reversed; those of other programs are in the order of the file.
"""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from risjax.data.layouts import SceneFileError
from risjax.data.variables import OpenFile, Variable, complex_of_fields

BLOCK_BYTES = 128 << 20
"""Bytes of an array that are in memory at a time."""

SUFFIXES = (".h5", ".hdf5")


def is_hdf5(file: Path) -> bool:
    """Return True if a file has the header of HDF5, which MATLAB writes after 512 bytes of its own."""
    with file.open("rb") as stream:
        header = stream.read(520)
    return b"MATLAB 7.3" in header[:128] or b"\x89HDF" in header


@contextlib.contextmanager
def open_hdf5(file: Path) -> Iterator[OpenFile]:
    """The datasets of a file.

    Raises:
        SceneFileError: here or while a dataset is read: h5py is not installed, a damaged file, no numbers.
    """
    try:
        import h5py
    except ImportError as error:
        raise SceneFileError(
            f"{file}: an HDF5 or MATLAB v7.3 file needs h5py: pip install 'risjax[matlab]' (or save it with -v7)"
        ) from error
    is_matlab = file.suffix.lower() == ".mat"
    with contextlib.ExitStack() as opened:
        with _damage_of(file):
            archive = opened.enter_context(h5py.File(file, "r"))
            names = list(archive)

        def find(name: str) -> Variable | None:
            with _damage_of(file):
                path = name.replace(".", "/")
                member: Any = archive.get(path)
                if member is None:
                    return None
                if not isinstance(member, h5py.Dataset):
                    inside = ", ".join(list(member)[:8])
                    raise SceneFileError(
                        f"{file}: {name} is a struct or a group, expected a numeric array; it contains {inside}"
                    )
                if h5py.check_ref_dtype(member.dtype) is not None:
                    return _stacked(archive, member, name, file)
                return _dataset(member, name, file, is_matlab)

        yield OpenFile(names, find)


@contextlib.contextmanager
def _damage_of(file: Path) -> Iterator[None]:
    """Every error of a damaged file as a `SceneFileError`."""
    try:
        yield
    except (OSError, KeyError, RuntimeError) as error:
        raise SceneFileError(f"{file}: not an HDF5 or MATLAB v7.3 file, or a damaged one ({error})") from error


def _dataset(dataset: Any, name: str, file: Path, is_matlab: bool) -> Variable:
    if dataset.dtype.hasobject:
        raise SceneFileError(f"{file}: {name} is a struct, a cell or text, expected a numeric array")
    is_reversed = is_matlab or "MATLAB_class" in dataset.attrs
    last = dataset.ndim - 1
    held: dict[tuple[int, int], np.ndarray] = {}

    def block_at(axis: int, index: int, size: int) -> np.ndarray:
        """One block of an axis: a read of a scattered axis passes over the whole file."""
        if (axis, index) not in held:
            held.clear()
            part = (slice(None),) * axis + (slice(index * size, (index + 1) * size),)
            held[axis, index] = dataset[part]
        return held[axis, index]

    def read(axis: int, start: int, stop: int) -> np.ndarray:
        with _damage_of(file):
            if not dataset.shape:
                return np.asarray(dataset[()])
            axis = last - axis if is_reversed else axis
            size = max(1, BLOCK_BYTES * dataset.shape[axis] // max(1, 16 * math.prod(dataset.shape)))
            parts = []
            for index in range(start // size, max(start, stop - 1) // size + 1):
                inside = slice(max(0, start - index * size), stop - index * size)
                parts.append(block_at(axis, index, size)[(slice(None),) * axis + (inside,)])
            array = np.concatenate(parts, axis)
        return array.T if is_reversed else array

    shape = dataset.shape[::-1] if is_reversed else dataset.shape
    return complex_of_fields(Variable(name, shape, dataset.dtype, read, is_reversed))


def _stacked(archive: Any, references: Any, name: str, file: Path) -> Variable:
    """A cell array: a dataset of references, each to one entry."""
    targets = references[()].T.reshape(-1, order="F")
    entries = [
        _dataset(archive[target], f"{name}{{{number + 1}}}", file, True) for number, target in enumerate(targets)
    ]
    shapes = {entry.shape for entry in entries}
    if len(shapes) != 1:
        listed = ", ".join(str(list(shape)) for shape in sorted(shapes)) or "no entry"
        raise SceneFileError(f"{file}: {name} is a cell array of the shapes {listed}, expected one shape")
    if len(entries) == 1:
        return entries[0]._replace(name=name)

    def read(axis: int, start: int, stop: int) -> np.ndarray:
        if axis == 0:
            return np.stack([entry.read_all() for entry in entries[start:stop]])
        return np.stack([entry.read(axis - 1, start, stop) for entry in entries])

    return Variable(name, (len(entries), *entries[0].shape), entries[0].dtype, read, True)
