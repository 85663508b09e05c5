"""Reading scenes from disk: one door, `read_scenes`, for every kind of file."""

import hashlib
import json
from pathlib import Path

import jax
import numpy as np

from risjax.data.archives import read_mat, read_npz
from risjax.data.layouts import SceneFile, SceneFileError, from_arrays
from risjax.types import Sources

MANIFEST = "manifest.json"
FORMAT = "risjax scenes 1"


def read_scenes(path: str | Path, *, limit: int | None = None) -> SceneFile:
    """The scenes of a file or of a directory that ``simulate`` wrote, as numpy arrays.

    Args:
        path: an ``.npz`` file of our layout or the original pipeline's, a MATLAB ``.mat`` file (v5; v7.3 with h5py) of
            either, or a directory with a manifest. The kind is told by the content's arrays, not by the name.
        limit: read the first so many scenes; ``None`` reads all.

    Raises:
        FileNotFoundError: if there is nothing at ``path``.
        SceneFileError: if a file is damaged, not a scene file, or holds wrong shapes, dtypes or values; the message
            names the file, the array, what it is and what was expected.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    file = Path(path)
    if file.is_dir() or file.name == MANIFEST:
        return _read_directory(file if file.is_dir() else file.parent, limit)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such scene file")
    return _read_file(file, limit)


def read_manifest(directory: Path) -> dict:
    """The manifest of a directory of scenes.

    Raises:
        FileNotFoundError: if it has none.
        SceneFileError: if it cannot be understood.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{directory}: no {MANIFEST}, so no directory of scenes")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        shards = [(str(shard["file"]), int(shard["scenes"]), str(shard["sha256"])) for shard in manifest["shards"]]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise SceneFileError(f"{path}: not a manifest of scenes ({error!r})") from error
    if manifest.get("format") != FORMAT:
        raise SceneFileError(f"{path}: format is {manifest.get('format')!r}, expected {FORMAT!r}")
    for name, _, _ in shards:
        if Path(name).name != name:
            raise SceneFileError(f"{path}: names the shard {name!r}, which is not a file of its own directory")
    return manifest


def sha256(path: Path) -> str:
    """The file's checksum."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_file(file: Path, limit: int | None) -> SceneFile:
    arrays = read_mat(file) if file.suffix.lower() == ".mat" else read_npz(file)
    return _first(from_arrays(arrays, str(file)), limit)


def _first(scenes: SceneFile, limit: int | None) -> SceneFile:
    if limit is None or limit >= scenes.num_scenes:
        return scenes

    def cut(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[:limit]

    sources = None if scenes.sources is None else Sources(*(array[:limit] for array in scenes.sources))
    return SceneFile(jax.tree.map(cut, scenes.observation), sources, *map(cut, scenes[2:]))


def _read_directory(directory: Path, limit: int | None) -> SceneFile:
    parts: list[SceneFile] = []
    missing = limit
    for shard in read_manifest(directory)["shards"]:
        if missing is not None and missing <= 0:
            break
        path = directory / shard["file"]
        if not path.is_file():
            raise SceneFileError(f"{path}: the manifest names this shard, the directory lacks it; run simulate again")
        if sha256(path) != shard["sha256"]:
            raise SceneFileError(f"{path}: its checksum is not the manifest's: changed or damaged; run simulate again")
        parts.append(_read_file(path, missing))
        if missing is not None:
            missing -= parts[-1].num_scenes
    if not parts:
        raise SceneFileError(f"{directory}: the manifest names no shards")
    return _joined(parts, directory)


def _joined(parts: list[SceneFile], directory: Path) -> SceneFile:
    if len(parts) == 1:
        return parts[0]
    shapes = [[array.shape[1:] for array in part.observation[:3]] for part in parts]
    if any(shape != shapes[0] for shape in shapes):
        raise SceneFileError(f"{directory}: its shards differ in L, M or N: {shapes}")
    if len({jax.tree.structure(part.observation) for part in parts}) > 1:
        raise SceneFileError(f"{directory}: some of its shards hold elements_m or wavelength_m and others do not")

    def join(arrays: list[np.ndarray | None]) -> np.ndarray | None:
        present = [array for array in arrays if array is not None]
        return np.concatenate(present) if len(present) == len(arrays) else None

    observation = jax.tree.map(lambda *arrays: np.concatenate(arrays), *(part.observation for part in parts))
    labels = [part.sources for part in parts if part.sources is not None]
    sources = None
    if len(labels) == len(parts):
        sources = Sources._make(np.concatenate(arrays) for arrays in zip(*labels, strict=True))
    rest = (join(list(arrays)) for arrays in zip(*(part[2:] for part in parts), strict=True))
    return SceneFile(observation, sources, *rest)
