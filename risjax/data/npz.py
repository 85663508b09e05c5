"""Opening ``.npz`` archives without trusting them.

Members are measured from their headers before a byte of data is unpacked. Object arrays, which only unpickling could
read, are refused; nothing here unpickles. Scenes along the first axis are read slice by slice.
"""

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from risjax.data.layouts import SceneFileError
from risjax.data.variables import OpenFile, Variable, complex_of_fields


@contextlib.contextmanager
def open_npz(file: Path) -> Iterator[OpenFile]:
    """The arrays of an archive.

    Raises:
        SceneFileError: here or while an array is read: a truncated or damaged archive, object arrays, a size that is
            not that of the header.
    """
    with contextlib.ExitStack() as streams:
        with _damage_of(file):
            archive = streams.enter_context(zipfile.ZipFile(file))
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}

        def find(name: str) -> Variable | None:
            if name not in members:
                return None
            with _damage_of(file):
                return complex_of_fields(_member(members[name], name, file, streams))

        yield OpenFile(list(members), find)


@contextlib.contextmanager
def _damage_of(file: Path) -> Iterator[None]:
    """Every error of a damaged archive as a `SceneFileError`."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise SceneFileError(f"{file}: not an .npz archive, or a truncated or damaged one ({error})") from error


def _member(info: zipfile.ZipInfo, name: str, file: Path, streams: contextlib.ExitStack) -> Variable:
    """A member of an archive, opened apart from the others.

    In Python 3.12.0 to 3.13.1 a forward seek in one member of a `zipfile.ZipFile` starts from the position at which
    another member was read last, and returns wrong data (python/cpython#127847).
    """
    stream = streams.enter_context(streams.enter_context(zipfile.ZipFile(file)).open(info))
    shape, fortran, dtype = _read_header(stream, info, name, file)
    begin, row = stream.tell(), dtype.itemsize * math.prod(shape[1:])

    def read_rows(start: int, stop: int) -> np.ndarray:
        if stream.tell() != begin + start * row:
            stream.seek(begin + start * row)
        data = stream.read((stop - start) * row)
        if len(data) != (stop - start) * row:
            raise SceneFileError(f"{file}: {name} ends before row {stop} of its first axis; truncated?")
        if stop == shape[0]:
            stream.read(1)  # to the end of the member, so that the archive's checksum is compared
        return np.frombuffer(data, dtype).reshape(stop - start, *shape[1:])

    def read(axis: int, start: int, stop: int) -> np.ndarray:
        with _damage_of(file):
            if shape and axis == 0 and not fortran:
                return read_rows(start, stop)
            stream.seek(begin)
            whole = np.frombuffer(stream.read(), dtype).reshape(shape, order="F" if fortran else "C")
        return whole[(slice(None),) * axis + (slice(start, stop),)] if shape else whole

    return Variable(name, shape, dtype, read)


def _read_header(stream: Any, info: zipfile.ZipInfo, name: str, file: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype of a member; the position of its stream is then the first byte of data.

    Raises:
        SceneFileError: no readable header, object arrays, a size that is not that of the header.
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
