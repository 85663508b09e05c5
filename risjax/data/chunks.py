"""Measurements read a few scenes at a time, in memory that does not grow with the file.

Only what the receiver knows is read. A scene that cannot be used (values that are not finite, an empty
channel) is reported with its reason and the others are kept; other files are refused as by
`risjax.data.files.read_scenes`. ``.npz`` members and HDF5 datasets are read slice by slice, shards of a directory one
after the other. MATLAB v5 files, which hold at most 2 GB a variable, and ``.npz`` arrays whose scenes are not along the
first axis are read whole.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from risjax.data.files import MANIFEST, read_manifest, reading_of_shards, sha256
from risjax.data.layouts import SceneFileError
from risjax.data.measurements import USUAL, Reading, open_measurements
from risjax.physics.received_arrays import lost_entries
from risjax.types import Observation


class Chunk(NamedTuple):
    """Consecutive scenes of an input.

    Attributes:
        first: index of the first one in the whole input, from 0.
        count: number of scenes.
        observation: of all of them, numpy arrays with a leading axis; None where none can be read.
        reasons: why a scene cannot be used, by its index in the whole input.
    """

    first: int
    count: int
    observation: Observation | None
    reasons: dict[int, str]


def count_scenes(path: str | Path, reading: Reading = USUAL) -> int:
    """Number of scenes in a file or directory, from its headers.

    Raises:
        FileNotFoundError, SceneFileError: as `scene_chunks`.
    """
    file = _existing(path)
    if file.is_dir():
        return sum(shard["scenes"] for shard in read_manifest(file)["shards"])
    with open_measurements(file, reading) as measurements:
        return measurements.num_scenes


def scene_chunks(path: str | Path, size: int, *, start: int = 0, reading: Reading = USUAL) -> Iterator[Chunk]:
    """The scenes of a file or directory in order, at most ``size`` at a time.

    Args:
        path: as for `risjax.data.files.read_scenes`.
        size: scenes a chunk; the last chunk of a file is shorter, and no chunk spans two shards.
        start: the first scene that is wanted; where it begins a chunk, the chunks are those of ``start = 0``.
        reading: the file's names and axes, and whether its codes were measured.

    Raises:
        FileNotFoundError: if there is nothing at ``path``.
        SceneFileError: other files, and damaged ones. A damaged shard of a directory is reported scene by scene.
    """
    file = _existing(path)
    if not file.is_dir():
        yield from _file_chunks(file, 0, size, start, reading)
        return
    manifest = read_manifest(file)
    reading = reading_of_shards(manifest, reading)
    first = 0
    for shard in manifest["shards"]:
        count = shard["scenes"]
        if first + count > start:
            yield from _shard_chunks(file / shard["file"], shard, first, size, max(0, start - first), reading)
        first += count


def _existing(path: str | Path) -> Path:
    file = Path(path).expanduser()
    file = file.parent if file.name == MANIFEST else file
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file or directory of scenes")
    return file


def _shard_chunks(
    file: Path, shard: Mapping[str, Any], first: int, size: int, start: int, reading: Reading
) -> Iterator[Chunk]:
    count = shard["scenes"]
    done = start
    try:
        if not file.is_file():
            raise SceneFileError(f"the shard {file.name} is missing")
        if sha256(file) != shard["sha256"]:
            raise SceneFileError(f"the shard {file.name} is damaged: its checksum is not the manifest's")
        for chunk in _file_chunks(file, first, size, start, reading):
            yield chunk
            done = chunk.first + chunk.count - first
        if done != count:
            raise SceneFileError(f"the shard {file.name} holds {done} scenes, {count} in the manifest")
    except SceneFileError as error:
        for begin in range(done, count, size):
            length = min(size, count - begin)
            reasons = {first + begin + offset: str(error) for offset in range(length)}
            yield Chunk(first + begin, length, None, reasons)


def _file_chunks(file: Path, first: int, size: int, start: int, reading: Reading) -> Iterator[Chunk]:
    with open_measurements(file, reading) as measurements:
        for begin in range(start, measurements.num_scenes, size):
            end = min(begin + size, measurements.num_scenes)
            observation = measurements.read(begin, end)
            yield Chunk(first + begin, end - begin, observation, _reasons(observation, first + begin))


def _reasons(observation: Observation, first: int) -> dict[int, str]:
    reasons: dict[int, str] = {}
    arrays = observation._asdict() | (observation.geometry._asdict() if observation.geometry else {})
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            continue
        flat = array.reshape(len(array), -1)
        with np.errstate(invalid="ignore"):  # a signalling NaN is reported with its scene
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
    for scene, text in lost_entries(np.asarray(observation.snapshots), np.asarray(observation.channel)).items():
        reasons.setdefault(first + scene, f"snapshots {text}")
    return reasons
