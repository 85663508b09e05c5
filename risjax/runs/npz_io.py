"""Results of a run as named arrays in an ``.npz`` file, from which an interrupted stage resumes."""

import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from risjax.runs.run_directory import write_atomically

DAMAGE = (OSError, ValueError, EOFError, BadZipFile, zlib.error)
"""Exceptions of NumPy for a truncated or damaged file."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays, compressed, atomically."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # pyright: ignore[reportArgumentType]  (no array is named allow_pickle)
    write_atomically(path, content.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the named arrays of a file, without pickle; none if it is absent or damaged."""
    try:
        # np.load does not close a damaged file, so the file is opened and closed here.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except DAMAGE:
        return {}


def read_marked_arrays(path: Path, mark: str) -> dict[str, np.ndarray]:
    """Return the arrays that `write_marked_arrays` wrote with the same mark; none otherwise."""
    arrays = read_arrays(path)
    return arrays if str(arrays.pop("fingerprint", None)) == mark else {}


def write_marked_arrays(path: Path, mark: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays with a mark of the settings from which they were computed."""
    write_arrays(path, {"fingerprint": np.asarray(mark), **arrays})
