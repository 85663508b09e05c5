"""Writing scenes to disk: sharded, with a manifest, chunk by chunk, resumable.

======================= ============================================================================
scenes-00000.npz, ...   shards of our layout (`risjax.data.layouts`)
manifest.json           format, risjax version, physics, seed, counts, and each shard's checksum
======================= ============================================================================

Scene i of (physics, seed) is the same whatever the shard size, the number of scenes and the machine's batch: it is
scene i mod 128 of batch i // 128 of the stream SIMULATE. A shard is listed in the manifest after it has been
written completely; an interrupted run resumes after the last listed one.
"""

import json
import os
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, Integer
from pydantic import ValidationError

import risjax
from risjax.config import Config, PhysicsConfig, SimulateConfig
from risjax.config.upgrade import replace_deprecated
from risjax.data.files import FORMAT, MANIFEST, read_manifest, sha256
from risjax.data.layouts import SceneFileError
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.terminal import Terminal
from risjax.types import Scene


class SceneDirectoryError(Exception):
    """The target directory holds scenes of another kind or unreadable files; nothing was changed."""


BATCH = 128
"""Scenes drawn at a time; part of every scene's index."""


def simulate(config: Config, directory: RunDirectory, terminal: Terminal) -> Path:
    """Run the stage: write ``config.simulate.scenes`` scenes of ``config.physics``.

    Returns:
        The directory of the scenes.

    Raises:
        SceneDirectoryError: the directory holds scenes of another physics, seed or shard size; nothing is changed.
    """
    target = Path(config.simulate.path).expanduser() if config.simulate.path else directory.path / "scenes"
    write_scenes(target, config.physics, config.run.seed, config.simulate, terminal)
    return target


def write_scenes(
    directory: Path, physics: PhysicsConfig, seed: int, settings: SimulateConfig, terminal: Terminal
) -> None:
    """Write the missing shards and the manifest.

    Raises:
        SceneDirectoryError: the directory holds scenes of another physics, seed or shard size; nothing is changed.
    """
    per_shard = -(-settings.shard_scenes // BATCH) * BATCH
    manifest = {
        "format": FORMAT,
        "risjax": risjax.__version__,
        "physics": physics.model_dump(mode="json"),
        "seed": seed,
        "scenes": settings.scenes,
        "shard_scenes": per_shard,
        "shards": _intact_shards(directory, physics, seed, settings.scenes, per_shard),
    }
    directory.mkdir(parents=True, exist_ok=True)
    num_shards = -(-settings.scenes // per_shard)
    done = len(manifest["shards"])
    with terminal.progress("simulate", settings.scenes, completed=min(done * per_shard, settings.scenes)) as bar:
        for shard in range(done, num_shards):
            first = shard * per_shard
            count = min(per_shard, settings.scenes - first)
            name = f"scenes-{shard:05d}.npz"
            _write_npz(directory / name, shard_arrays(physics, seed, first // BATCH, count))
            manifest["shards"].append({"file": name, "scenes": count, "sha256": sha256(directory / name)})
            _write_manifest(directory, manifest)
            bar.advance(count)
    _write_manifest(directory, manifest)


def shard_arrays(physics: PhysicsConfig, seed: int, first_batch: int, count: int) -> dict[str, np.ndarray]:
    """The arrays of a file of ``count`` scenes, beginning with batch ``first_batch``."""
    batches = [_batch(physics, np.uint32(seed), first_batch + index) for index in range(-(-count // BATCH))]
    scene: Scene = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *batches)
    codes, geometry = scene.observation.codes, scene.observation.geometry
    truth = scene.truth
    arrays = {
        "snapshots": scene.observation.snapshots,
        "channel": scene.observation.channel,
        "codes": codes[0] if (codes == codes[:1]).all() else codes,
        "position": truth.sources.position,
        "amplitude": truth.sources.amplitude,
        "active": truth.sources.active,
        "snr_db": truth.snr_db,
        "noise_variance": truth.noise_variance,
        "label_factor": truth.label_factor,
    }
    if geometry is not None:
        arrays |= {name: values for name, values in geometry._asdict().items() if values is not None}
    return {name: np.asarray(values) for name, values in arrays.items()}


@partial(jax.jit, static_argnums=(0,))
def _batch(physics: PhysicsConfig, seed: Integer[Array, ""], index: Integer[Array, ""]) -> Scene:
    return scene_batch(physics, seed, Purpose.SIMULATE, index, BATCH)


def _intact_shards(directory: Path, physics: PhysicsConfig, seed: int, scenes: int, per_shard: int) -> list[dict]:
    """The shards that an earlier run finished, up to the first that is missing, changed or of another length."""
    if not (directory / MANIFEST).exists():
        return []
    try:
        earlier = read_manifest(directory)
    except SceneFileError as error:
        raise SceneDirectoryError(f"{error}; choose another simulate.path or remove it") from error
    wanted = {"physics": physics, "seed": seed, "shard_scenes": per_shard}
    held = earlier | {"physics": _physics(earlier)}
    differing = [name for name, value in wanted.items() if held.get(name) != value]
    if differing:
        raise SceneDirectoryError(
            f"{directory} holds scenes of another {' and '.join(differing)}; choose another simulate.path or remove it"
        )
    intact: list[dict] = []
    for index, shard in enumerate(earlier["shards"]):
        path = directory / shard["file"]
        expected = min(per_shard, scenes - index * per_shard)
        if shard["scenes"] != expected or not path.is_file() or sha256(path) != shard["sha256"]:
            break
        intact.append(shard)
    return intact


def _physics(manifest: dict) -> PhysicsConfig | None:
    """The physics of a manifest, of this version or an earlier one; None where it is not valid."""
    stored = {"physics": manifest.get("physics")}
    replace_deprecated(stored, {})
    try:
        return PhysicsConfig.model_validate_json(json.dumps(stored["physics"]))
    except ValidationError:
        return None


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    beside = path.with_name(f".{path.name}.part")
    with beside.open("wb") as stream:
        np.savez(stream, **arrays)  # pyright: ignore[reportArgumentType]  (a name could be "allow_pickle"; none is)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def _write_manifest(directory: Path, manifest: dict) -> None:
    write_atomically(directory / MANIFEST, json.dumps(manifest, indent=1) + "\n")
