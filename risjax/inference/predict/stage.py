"""The stage ``predict``: measurements in a file or directory of any size to tables of sources.

Batches go through the pipeline one by one. After every ``predict.part_scenes`` scenes the results are written to disk
(``predictions/part-000000.npz``); a killed run resumes after the last such part, with the same files as result. When
all scenes are done the tables are written from the parts, and the parts are removed. ``predict.json`` identifies the
measurements and the network; where either differs under the same name, all scenes are predicted again.
"""

import hashlib
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import risjax
from risjax.config import Config
from risjax.data.chunks import Chunk, count_scenes, scene_chunks
from risjax.data.files import MANIFEST, sha256
from risjax.data.measurements import Reading
from risjax.inference.predict.fit_warning import conditioning_text, misfit_text
from risjax.inference.predict.localization import Localization, located, rank_text
from risjax.inference.predict.model import Model
from risjax.inference.predict.tables import (
    BAD_NAME,
    CSV_NAME,
    JSON_NAME,
    PARQUET_NAME,
    as_arrays,
    from_arrays,
    open_tables,
)
from risjax.inference.release import load_params
from risjax.model import Params
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.terminal import Bar, Terminal

STATE_NAME = "predict.json"
_SAMPLE_BYTES = 1 << 20


class Part(NamedTuple):
    """Results of consecutive scenes.

    Attributes:
        first: index of the first one.
        found: sources of each; none in those that failed.
        reasons: why a scene failed, by its index in the whole input.
    """

    first: int
    found: Localization
    reasons: dict[int, str]


def predict(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    """Runs the stage.

    Returns:
        Whether every scene could be used.

    Raises:
        FileNotFoundError: no measurements, or no network.
        SceneFileError: ``data.path`` is not a scene file, or a damaged one.
        MeasurementError: measurements of another surface than the network's, or too few of them.
        WeightsError, CheckpointError: the network is damaged or does not fit the configuration.
    """
    path = Path(config.data.path or "").expanduser()
    params = load_params(config, directory)
    mark = _fingerprint(path, params)
    state = directory.read_json(STATE_NAME, {})
    if state.get("fingerprint") != mark:
        state = {"fingerprint": mark, "finished": False}
        _remove_parts(directory)
        directory.write_json(STATE_NAME, state)
    if state["finished"] and _is_whole(directory, state):
        terminal.say("predict: already done for these measurements")
    else:
        state |= {"finished": True, **_run(config, params, path, directory, terminal)}
        state["bytes"] = {name: (directory.path / name).stat().st_size for name in _outputs(directory)}
    state["warnings"] = _warnings(state)
    directory.write_json(STATE_NAME, state)
    _remove_parts(directory)
    for text in state["warnings"]:
        terminal.warn(text)
    return not state["failed"]


def _warnings(state: Mapping[str, Any]) -> list[str]:
    used = state["scenes"] - state["failed"]
    texts = [
        misfit_text(state.get("misfit", 0), state.get("no_signal", 0), used),
        conditioning_text(state.get("ill_conditioned", 0), used),
    ]
    if state["failed"]:
        failed = f"{state['failed']} of {state['scenes']} scenes could not be used; bad_scenes.csv gives the reasons"
        texts = [failed, *texts]
    return [text for text in texts if text]


def _outputs(directory: RunDirectory) -> list[str]:
    """Return the tables and drawings that exist, as paths within the run directory."""
    drawings = directory.figures.glob("scene_*.png")
    files = [*(directory.path / name for name in (CSV_NAME, BAD_NAME, JSON_NAME, PARQUET_NAME)), *sorted(drawings)]
    return [file.relative_to(directory.path).as_posix() for file in files if file.is_file()]


def _is_whole(directory: RunDirectory, state: dict[str, Any]) -> bool:
    """Return whether every file that a finished prediction wrote still exists with its size."""
    files = {directory.path / name: size for name, size in state.get("bytes", {}).items()}
    if not files:  # (of an earlier version, which recorded no sizes)
        return all((directory.path / name).exists() for name in (CSV_NAME, BAD_NAME, JSON_NAME))
    return all(file.is_file() and file.stat().st_size == size for file, size in files.items())


def _remove_parts(directory: RunDirectory) -> None:
    folder = directory.path / "predictions"
    for part in _part_files(folder):
        part.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _run(config: Config, params: Params, path: Path, directory: RunDirectory, terminal: Terminal) -> dict[str, int]:
    """Counts of all scenes, whose results go through parts on disk to the tables."""
    folder = directory.path / "predictions"
    total = min(count_scenes(path, _reading(config)), config.predict.limit or sys.maxsize)
    model = Model(config.weights or str(directory.path), config, params)
    with terminal.progress("predict", total, completed=_num_done(folder)) as bar:
        _write_parts(config, model, path, folder, total, bar)
    header = {"format": "risjax sources 1", "risjax": risjax.__version__, "weights": model.name, "data": str(path)}
    return _write_tables(config, directory, header, terminal)


def _write_parts(config: Config, model: Model, path: Path, folder: Path, total: int, bar: Bar) -> None:
    done, number = _num_done(folder), len(_part_files(folder))
    waiting: list[Part] = []
    for chunk in scene_chunks(path, config.predict.batch_size, start=done, reading=_reading(config)):
        chunk = _cut(chunk, total)
        if chunk.count <= 0:
            break
        waiting.append(_answer(chunk, model, config))
        done = chunk.first + chunk.count
        bar.advance(chunk.count)
        if done - waiting[0].first >= config.predict.part_scenes or done == total:
            _write_part(folder / f"part-{number:06d}.npz", waiting)
            waiting, number = [], number + 1


def _reading(config: Config) -> Reading:
    return Reading({**config.data.names}, {**config.data.axes}, config.data.codes_measured)


def _cut(chunk: Chunk, total: int) -> Chunk:
    count = min(chunk.count, total - chunk.first)
    if count == chunk.count:
        return chunk
    observation = jax.tree.map(lambda array: array[: max(count, 0)], chunk.observation)
    reasons = {scene: reason for scene, reason in chunk.reasons.items() if scene < total}
    return Chunk(chunk.first, count, observation, reasons)


def _answer(chunk: Chunk, model: Model, config: Config) -> Part:
    """Results of a chunk. Invalid scenes are replaced by a valid one, and their results are masked."""
    slots, reasons = config.physics.scene.max_sources, dict(chunk.reasons)
    good = np.array([chunk.first + offset not in reasons for offset in range(chunk.count)])
    if chunk.observation is None or not good.any():
        return Part(chunk.first, _nothing(chunk.count, slots), reasons)
    snapshots, _, codes = chunk.observation[:3]
    model.check_sizes(snapshots.shape[1], snapshots.shape[2], codes.shape[2])
    rows = np.where(good, np.arange(chunk.count), np.argmax(good))
    shown = jax.tree.map(lambda array: array[rows], chunk.observation)
    model.check_geometry(shown.geometry)
    estimates, diagnostics = model.estimate(shown, config.predict.batch_size)
    sound = np.isfinite(np.where(estimates.active[..., None], estimates.position, 0)).all(axis=(1, 2))
    for offset in np.flatnonzero(good & ~sound):
        reasons[chunk.first + int(offset)] = "the estimates are not finite"
    num_elements = codes.shape[-1]
    full = diagnostics.rank >= num_elements
    for offset in np.flatnonzero(good & ~full):
        reasons.setdefault(chunk.first + int(offset), rank_text(int(diagnostics.rank[offset]), num_elements))
    valid = good & sound & full
    kept = estimates._replace(active=estimates.active & valid[:, None])
    flags = ("misfit", "no_signal", "ill_conditioned")
    checks = diagnostics._replace(**{flag: getattr(diagnostics, flag) & valid for flag in flags})
    return Part(chunk.first, located(kept, checks, shown, config.predict.min_existence), reasons)


def _nothing(count: int, slots: int) -> Localization:
    empty, nan, no = np.zeros((count, slots), np.float32), np.full(count, np.nan), np.zeros(count, bool)
    wide = np.zeros((count, slots, 3), np.float32)
    return Localization(
        position=wide,
        amplitude=empty.astype(np.complex64),
        active=empty.astype(bool),
        std=np.full_like(wide, np.inf),
        score=empty,
        existence=empty,
        explained=nan,
        unexplained=nan,
        fit_p_value=nan,
        signal_p_value=nan,
        degrees_of_freedom=nan,
        rank=no.astype(int),
        misfit=no,
        no_signal=no,
        ill_conditioned=no,
    )


def _write_part(file: Path, parts: list[Part]) -> None:
    found = Localization(*(np.concatenate(arrays) for arrays in zip(*(part.found for part in parts), strict=True)))
    reasons = {scene: reason for part in parts for scene, reason in part.reasons.items()}
    arrays = {**found._asdict(), **as_arrays(reasons), "first": np.int64(parts[0].first)}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_atomically(file, content.getvalue())


def _part_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.npz"))


def _num_done(folder: Path) -> int:
    files = _part_files(folder)
    if not files:
        return 0
    last = _read_part(files[-1])
    return last.first + len(last.found.active)


def _read_part(file: Path) -> Part:
    with np.load(file, allow_pickle=False) as arrays:
        found = Localization(*(arrays[name] for name in Localization._fields))
        return Part(int(arrays["first"]), found, from_arrays(arrays["bad"], arrays["reasons"]))


def _write_tables(
    config: Config, directory: RunDirectory, header: dict[str, Any], terminal: Terminal
) -> dict[str, int]:
    from risjax.inference.predict.figures import scene_drawing  # 0.4 s of matplotlib, which `risjax.load` does not need

    counts = {"scenes": 0, "failed": 0, "sources": 0, "misfit": 0, "no_signal": 0, "ill_conditioned": 0}
    wanted = config.predict.figures
    with open_tables(directory.path, header) as tables:
        for part in map(_read_part, _part_files(directory.path / "predictions")):
            tables.add(part.first, part.found, part.reasons)
            counts["scenes"] += len(part.found.active)
            counts["failed"] += len(part.reasons)
            counts["sources"] += int(part.found.active.sum())
            counts["misfit"] += int((part.found.misfit & ~part.found.no_signal).sum())
            counts["no_signal"] += int(part.found.no_signal.sum())
            counts["ill_conditioned"] += int(part.found.ill_conditioned.sum())
            for scene in _figures_in(wanted, part):
                found = Localization(*(array[scene - part.first] for array in part.found))
                drawing = scene_drawing(found, scene, config.physics)
                write_atomically(directory.figures / f"{drawing.name}.png", drawing.png())
    if wanted != "all":
        late = [scene for scene in wanted if scene >= counts["scenes"]]
        if late:
            terminal.warn(f"no figures of the scenes {late}: there are {counts['scenes']}, counted from 0")
    return counts


def _figures_in(wanted: Any, part: Part) -> Iterator[int]:
    for scene in range(part.first, part.first + len(part.found.active)):
        if (wanted == "all" or scene in wanted) and scene not in part.reasons:
            yield scene


def _fingerprint(path: Path, params: Any) -> str:
    """Digest of the measurements (size, time and ends of the file, or the manifest), the network and a part's fields.

    The fields let parts of a version with other fields be computed again.
    """
    file = path / MANIFEST if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    status = file.stat()
    digest = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode())
    if path.is_dir():
        digest.update(sha256(file).encode())
    else:
        with file.open("rb") as stream:
            digest.update(stream.read(_SAMPLE_BYTES))
            stream.seek(max(0, status.st_size - _SAMPLE_BYTES))
            digest.update(stream.read())
    digest.update(" ".join(Localization._fields).encode())
    for leaf in jax.tree.leaves(params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]
