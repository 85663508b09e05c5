"""Reading scene files: `read_scenes` knows the layout from the arrays that it finds.

Nothing here unpickles, and an archive is measured before it is unpacked.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from risjax.data.layouts import ORIGINAL, SceneFile, SceneFileError, from_original

MAX_UNPACKED_BYTES = 8 << 30
"""Larger than any shard of ours; an archive that claims more is refused before a byte is unpacked."""
MAX_COMPRESSION = 1100
"""Deflate's own limit is 1032; zeros reach it, scenes of noise stay below 2."""


def read_scenes(path: str | Path, *, limit: int | None = None) -> SceneFile:
    """The scenes of a file, as numpy arrays.

    Args:
        path: an ``.npz`` file of the original pipeline's layout.
        limit: read the first so many scenes; ``None`` reads all.

    Raises:
        FileNotFoundError: if there is no such file.
        SceneFileError: if the file is damaged, not a scene file, or holds wrong shapes, dtypes or values.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such scene file")
    arrays = _read_npz(file)
    if limit is not None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        shared = {"codes"} if arrays.get("codes", np.empty(0)).ndim == 3 else set()
        arrays = {name: array if name in shared or array.ndim == 0 else array[:limit] for name, array in arrays.items()}
    return from_original(arrays, str(file))


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise SceneFileError(f"{file}: not an .npz archive, or a truncated one ({error})") from error
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if unpacked > MAX_UNPACKED_BYTES or unpacked > MAX_COMPRESSION * max(packed, 1):
        raise SceneFileError(
            f"{file}: unpacks to {unpacked} bytes from {packed}; the most allowed is {MAX_UNPACKED_BYTES} bytes and "
            f"{MAX_COMPRESSION} times the packed size"
        )
    return _guarded(file, lambda: _load_known(file))


def _load_known(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name in ORIGINAL}


def _guarded(file: Path, load: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    try:
        return load()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise SceneFileError(f"{file}: holds an object array, which only unpickling could read; refused") from error
        raise SceneFileError(f"{file}: cannot be read ({error}); truncated?") from error
