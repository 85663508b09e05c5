"""Reading scenes from disk with `read_scenes`: every kind of file, and directories that ``simulate`` wrote."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from risjax.config import ImpairmentsConfig
from risjax.data.labels import read_scene_file
from risjax.data.layouts import SceneFile, SceneFileError
from risjax.data.measurements import Reading, open_measurements
from risjax.physics.received_arrays import MAX_RANGE_M
from risjax.types import Sources

MANIFEST = "manifest.json"
FORMAT = "risjax scenes 1"


def read_scenes(
    path: str | Path,
    *,
    limit: int | None = None,
    names: Mapping[str, str | Sequence[str]] | None = None,
    axes: Mapping[str, str] | None = None,
    codes_measured: bool = False,
    max_range_m: float = MAX_RANGE_M,
) -> SceneFile:
    """The scenes of a file or of a directory that ``simulate`` wrote, as numpy arrays.

    Args:
        path: an ``.npz`` file, a MATLAB ``.mat`` file (v5; v7.3 with h5py), an HDF5 ``.h5`` file, or a directory with a
            manifest. Arrays are found by the names of `risjax.data.layouts`.
        limit: read the first so many scenes; ``None`` reads all.
        names: the file's own names, ``{"snapshots": "meas.Y", "channel": "meas.H", "codes": "C"}``. Dots lead into
            structs and groups; a pair ``["meas.I", "meas.Q"]`` is real and imaginary part.
        axes: the order of a variable's axes in the file, ``{"snapshots": "LMS"}``: S scenes, L snapshots, M antennas,
            N elements, C real and imaginary part.
        codes_measured: the codes are measured reflection coefficients, whose modulus may differ from 1. Implied for a
            directory whose scenes were simulated with such impairments.
        max_range_m: largest range that a labelled source may have.

    Returns:
        ``observation`` with ``snapshots`` [S, L, M], ``channel`` [S, M, N] and ``codes`` [S, L, N], complex64, for
        ``risjax.localise(*scenes.observation)``; ``sources`` and further truth where the file contains them, else None.

    Raises:
        FileNotFoundError: if there is nothing at ``path``.
        SceneFileError: if a file is damaged, not a scene file, or holds wrong shapes, dtypes or values; the message
            names the file, the array, what it is and what was expected.

    Example:
        >>> read_scenes("campaign.mat", names={"snapshots": "meas.Y", "channel": "meas.H"})    # doctest: +SKIP
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    file = Path(path)
    reading = Reading(names or {}, axes or {}, codes_measured)
    if file.is_dir() or file.name == MANIFEST:
        return _read_directory(file if file.is_dir() else file.parent, limit, reading, max_range_m)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such scene file")
    return _read_file(file, limit, reading, max_range_m)


def read_manifest(directory: Path) -> dict:
    """The manifest of a directory of scenes.

    Raises:
        FileNotFoundError: if the directory has none.
        SceneFileError: if it is not a valid manifest.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{directory}: no {MANIFEST}, which a directory of scenes has")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        shards = [(str(shard["file"]), int(shard["scenes"]), str(shard["sha256"])) for shard in manifest["shards"]]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise SceneFileError(f"{path}: not a manifest of scenes ({error!r})") from error
    if manifest.get("format") != FORMAT:
        raise SceneFileError(f"{path}: format is {manifest.get('format')!r}, expected {FORMAT!r}")
    for name, _, _ in shards:
        if Path(name).name != name:
            raise SceneFileError(f"{path}: names the shard {name!r}, which is not a file of its directory")
    return manifest


def sha256(path: Path) -> str:
    """The file's checksum."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def reading_of_shards(manifest: Mapping[str, Any], reading: Reading) -> Reading:
    """Reading of a manifest's shards: impaired codes that ``simulate`` wrote count as measured."""
    impairments = manifest.get("physics", {}).get("impairments", {})
    if ImpairmentsConfig.model_validate_json(json.dumps(impairments)).are_codes_measured:
        return reading._replace(codes_measured=True)
    return reading


def _read_file(file: Path, limit: int | None, reading: Reading, max_range_m: float) -> SceneFile:
    with open_measurements(file, reading) as measurements:
        return read_scene_file(measurements, limit, max_range_m)


def _read_directory(directory: Path, limit: int | None, reading: Reading, max_range_m: float) -> SceneFile:
    parts: list[SceneFile] = []
    missing = limit
    manifest = read_manifest(directory)
    reading = reading_of_shards(manifest, reading)
    for shard in manifest["shards"]:
        if missing is not None and missing <= 0:
            break
        path = directory / shard["file"]
        if not path.is_file():
            raise SceneFileError(f"{path}: the manifest names this shard, the directory lacks it; run simulate again")
        if sha256(path) != shard["sha256"]:
            raise SceneFileError(f"{path}: its checksum is not the manifest's: changed or damaged; run simulate again")
        parts.append(_read_file(path, missing, reading, max_range_m))
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
