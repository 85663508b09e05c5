"""Measurements a few scenes at a time: flat memory whatever the size of the file.

What the receiver knows is read, nothing else. A scene that cannot be used (values that are not finite, an empty
channel) is reported with its reason and the others go on; a file that is no scene file is refused as by
`risjax.data.files.read_scenes`. ``.npz`` members and MATLAB v7.3 datasets are read slice by slice, shards of a
directory one after the other. MATLAB v5 files, which hold at most 2 GB a variable, and arrays in Fortran order are
read whole.
"""

import contextlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from risjax.data.archives import fit, is_hdf5, open_member, read_mat, to_complex
from risjax.data.files import MANIFEST, read_manifest, sha256
from risjax.data.layouts import (
    OBSERVED,
    OWN,
    ArraySpec,
    SceneFileError,
    as_complex,
    check_arrays,
    geometry_of,
    layout_of,
)
from risjax.types import Observation

BLOCK_BYTES = 128 << 20
"""Of a MATLAB v7.3 array in memory."""


class Chunk(NamedTuple):
    """Consecutive scenes of an input.

    Attributes:
        first: index of the first one in the whole input, from 0.
        count: how many.
        observation: of all of them, numpy arrays with a leading axis; None where none can be read.
        reasons: why a scene cannot be used, by its index in the whole input.
    """

    first: int
    count: int
    observation: Observation | None
    reasons: dict[int, str]


class _Rows(NamedTuple):
    """An array of a file whose leading axis can be read in parts, front to back."""

    shape: tuple[int, ...]
    read: Callable[[int, int], np.ndarray]


def count_scenes(path: str | Path) -> int:
    """How many scenes a file or directory holds, from its headers.

    Raises:
        FileNotFoundError, SceneFileError: as `scene_chunks`.
    """
    file = _existing(path)
    if file.is_dir():
        return sum(shard["scenes"] for shard in read_manifest(file)["shards"])
    with _opened(file) as (rows, _):
        return _num_scenes(rows)


def scene_chunks(path: str | Path, size: int, *, start: int = 0) -> Iterator[Chunk]:
    """The scenes of a file or directory in order, at most ``size`` at a time.

    Args:
        path: as for `risjax.data.files.read_scenes`.
        size: scenes a chunk; the last chunk of a file is shorter, and no chunk spans two shards.
        start: the first scene that is wanted; where it begins a chunk, the chunks are those of ``start = 0``.

    Raises:
        FileNotFoundError: if there is nothing at ``path``.
        SceneFileError: if it is no scene file, or damaged. A damaged shard of a directory is reported scene by scene.
    """
    file = _existing(path)
    if not file.is_dir():
        yield from _file_chunks(file, 0, size, start)
        return
    first = 0
    for shard in read_manifest(file)["shards"]:
        count = shard["scenes"]
        if first + count > start:
            yield from _shard_chunks(file / shard["file"], shard, first, size, max(0, start - first))
        first += count


def _existing(path: str | Path) -> Path:
    file = Path(path).expanduser()
    file = file.parent if file.name == MANIFEST else file
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file or directory of scenes")
    return file


def _shard_chunks(file: Path, shard: Mapping[str, Any], first: int, size: int, start: int) -> Iterator[Chunk]:
    count = shard["scenes"]
    done = start
    try:
        if not file.is_file():
            raise SceneFileError(f"the shard {file.name} is missing")
        if sha256(file) != shard["sha256"]:
            raise SceneFileError(f"the shard {file.name} is damaged: its checksum is not the manifest's")
        for chunk in _file_chunks(file, first, size, start):
            yield chunk
            done = chunk.first + chunk.count - first
        if done != count:
            raise SceneFileError(f"the shard {file.name} holds {done} scenes, the manifest says {count}")
    except SceneFileError as error:
        for begin in range(done, count, size):
            length = min(size, count - begin)
            reasons = {first + begin + offset: str(error) for offset in range(length)}
            yield Chunk(first + begin, length, None, reasons)


def _file_chunks(file: Path, first: int, size: int, start: int) -> Iterator[Chunk]:
    with _opened(file) as (rows, layout):
        total = _num_scenes(rows)
        for begin in range(start, total, size):
            end = min(begin + size, total)
            arrays = {
                name: array.read(begin, end) if _has_scenes(name, array, layout) else array.read(0, array.shape[0])
                for name, array in rows.items()
            }
            observation = _observation(arrays, layout, end - begin, str(file))
            yield Chunk(first + begin, end - begin, observation, _reasons(observation, first + begin))


def _has_scenes(name: str, array: _Rows, layout: Mapping[str, ArraySpec]) -> bool:
    return not (name == "codes" and len(array.shape) == len(layout[name].shape) - 1)


def _num_scenes(rows: Mapping[str, _Rows]) -> int:
    """By the snapshots; whether the others agree is checked chunk by chunk."""
    shape = (rows.get("snapshots") or rows["y"]).shape
    return shape[0] if shape else 0


def _observation(
    arrays: Mapping[str, np.ndarray], layout: Mapping[str, ArraySpec], count: int, file: str
) -> Observation:
    specs = {name: spec for name, spec in layout.items() if name in OBSERVED}
    sizes = check_arrays(arrays, specs, file, finite=False)
    names = [name for name, spec in specs.items() if spec.required]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported with its scene
        parts = [arrays[name].astype(np.complex64) if layout is OWN else as_complex(arrays[name]) for name in names]
        geometry = geometry_of(arrays)
    if parts[2].ndim == 2:
        parts[2] = np.broadcast_to(parts[2], (count, *parts[2].shape))
    if sizes["S"] != count:
        raise SceneFileError(f"{file}: its arrays hold different numbers of scenes")
    return Observation._make((*parts, geometry))


def _reasons(observation: Observation, first: int) -> dict[int, str]:
    reasons: dict[int, str] = {}
    arrays = observation._asdict() | (observation.geometry._asdict() if observation.geometry else {})
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            continue
        flat = array.reshape(len(array), -1)
        broken, empty = ~np.isfinite(flat).all(1), ~flat.any(1)
        for scene in np.flatnonzero(broken | empty):
            number = int((~np.isfinite(flat[scene])).sum())
            text = (
                f"{name} holds {number} of {flat.shape[1]} values that are not finite"
                if number
                else f"{name} is all zero"
            )
            reasons.setdefault(first + int(scene), text)
        if name == "wavelength_m":
            for scene in np.flatnonzero(array < 0):
                reasons.setdefault(first + int(scene), f"wavelength_m is {array[scene]:g} m; wavelengths are positive")
    return reasons


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tuple[dict[str, _Rows], Mapping[str, ArraySpec]]]:
    if file.suffix.lower() != ".mat":
        opened = _opened_npz(file)
    elif is_hdf5(file):
        opened = _opened_hdf5(file)
    else:
        opened = _opened_mat5(file)
    with opened as (rows, layout):
        missing = [f"{name} is missing" for name, spec in layout.items() if spec.required and name not in rows]
        if missing:
            raise SceneFileError(f"{file}: {'; '.join(missing)}")
        yield {name: array for name, array in rows.items() if name in OBSERVED}, layout


@contextlib.contextmanager
def _opened_npz(file: Path) -> Iterator[tuple[dict[str, _Rows], Mapping[str, ArraySpec]]]:
    try:
        with zipfile.ZipFile(file) as archive, contextlib.ExitStack() as streams:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            layout = layout_of(members, str(file))
            wanted = [name for name in layout if name in OBSERVED and name in members]
            yield {name: _npz_rows(archive, members[name], name, file, streams) for name in wanted}, layout
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise SceneFileError(f"{file}: not an .npz archive, or a truncated or damaged one ({error})") from error


def _npz_rows(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, file: Path, streams: contextlib.ExitStack
) -> _Rows:
    stream = streams.enter_context(archive.open(info))
    shape, fortran, dtype = open_member(stream, info, name, file)
    begin, row = stream.tell(), dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))

    def read(start: int, stop: int) -> np.ndarray:
        if fortran:
            stream.seek(begin)
            return np.frombuffer(stream.read(), dtype).reshape(shape, order="F")[start:stop]
        if stream.tell() != begin + start * row:
            stream.seek(begin + start * row)
        data = stream.read((stop - start) * row)
        if len(data) != (stop - start) * row:
            raise SceneFileError(f"{file}: {name} ends before scene {stop}; truncated?")
        return np.frombuffer(data, dtype).reshape(stop - start, *shape[1:])

    return _Rows(shape, read)


@contextlib.contextmanager
def _opened_hdf5(file: Path) -> Iterator[tuple[dict[str, _Rows], Mapping[str, ArraySpec]]]:
    try:
        import h5py
    except ImportError as error:
        raise SceneFileError(f"{file}: a MATLAB v7.3 file needs h5py: pip install 'risjax[matlab]'") from error
    try:
        with h5py.File(file, "r") as archive:
            layout = layout_of(list(archive), str(file))
            rows = {}
            for name in (name for name in layout if name in OBSERVED and name in archive):
                dataset: Any = archive[name]
                if not isinstance(dataset, h5py.Dataset) or dataset.dtype.hasobject:
                    raise SceneFileError(f"{file}: {name} is a struct or a cell, expected a numeric array")
                rows[name] = _hdf5_rows(dataset, layout[name], name, file)
            yield rows, layout
    except (OSError, KeyError, RuntimeError) as error:
        raise SceneFileError(f"{file}: not a MATLAB v7.3 file, or a truncated or damaged one ({error})") from error


def _hdf5_rows(dataset: Any, spec: ArraySpec, name: str, file: Path) -> _Rows:
    """MATLAB writes column-major data, whose axes HDF5 shows reversed: the scenes are the last, scattered one.

    So every read passes over the whole file; a block of scenes is read at a time.
    """
    if len(spec.shape) == 1:  # a row or a column, and small
        whole = fit(np.asarray(dataset[()]).T, spec, name, file)
        return _Rows(whole.shape, lambda start, stop: whole[start:stop])
    shape = dataset.shape[::-1]
    block = max(1, BLOCK_BYTES // (16 * int(np.prod(shape[1:], dtype=np.int64)) or 1))
    held: dict[int, np.ndarray] = {}

    def block_at(index: int) -> np.ndarray:
        if index not in held:
            held.clear()
            held[index] = to_complex(dataset[..., index * block : (index + 1) * block]).T
        return held[index]

    def read(start: int, stop: int) -> np.ndarray:
        indices = range(start // block, (stop - 1) // block + 1)
        parts = [block_at(i)[max(0, start - i * block) : stop - i * block] for i in indices]
        return fit(np.concatenate(parts), spec, name, file)

    return _Rows(shape, read)


@contextlib.contextmanager
def _opened_mat5(file: Path) -> Iterator[tuple[dict[str, _Rows], Mapping[str, ArraySpec]]]:
    arrays = read_mat(file)

    def rows(array: np.ndarray) -> _Rows:
        return _Rows(array.shape, lambda start, stop: array[start:stop])

    yield {name: rows(array) for name, array in arrays.items()}, layout_of(arrays, str(file))
