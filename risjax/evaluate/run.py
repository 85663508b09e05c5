"""Every method on every set of scenes: the same scenes, the same information, timed, resumable.

``estimates.npz`` holds ``<source>/truth/<field>`` and ``<source>/<method>/<field>`` with the fields of `Estimates`,
per-scene metrics such as ``nmse``, and ``seconds`` = (compilation, a scene in the steady state). It is rewritten
after every method, so that an interrupted evaluation goes on with the next one. ``metrics.json`` is made from it.
"""

import hashlib
import io
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import Config, SourceConfig
from risjax.config.evaluate import Method
from risjax.evaluate.methods import COMMON_FIELD, LEARNED, ORACLE, TOLD_K, Batch, Found, covariance_metrics, make_method
from risjax.evaluate.scenes import EvaluationScenes, bound_std, load_scenes
from risjax.metrics import summarise
from risjax.model import Params
from risjax.release import load_params
from risjax.run_directory import RunDirectory, write_atomically
from risjax.terminal import Bar, Terminal
from risjax.types import Estimates

Arrays = dict[str, np.ndarray]
Compiled = dict[Any, tuple[Callable[[Batch], Found], float]]
"""Programs and the seconds that they took to compile, by method, physics and shapes: sources may share them."""
_PER_SCENE = ("nmse", "subspace_overlap")
_SHOWN = ("nmse", "f1_3d", "f1_angle", "gospa_m")


def evaluate(config: Config, directory: RunDirectory, terminal: Terminal) -> dict[str, Any]:
    """Runs ``config.evaluate`` and writes ``metrics.json`` and ``estimates.npz``.

    Methods that a source cannot serve (an oracle without a true covariance, a network made for another surface) are
    left out of it with a note.

    Returns:
        What ``metrics.json`` holds: ``{"sources": {name: {"methods", "pairs", "scenes", "timing", "notes"}}}``.

    Raises:
        FileNotFoundError: no trained network for a learned method, or no such scene file.
        WeightsError: ``config.weights`` are damaged or were made for another array or network.
    """
    params = load_params(config, directory) if LEARNED & set(config.evaluate.methods) else None
    stored = _read(directory)
    result: dict[str, Any] = {"sources": {}}
    total = sum(source.scenes for source in config.evaluate.sources) * len(config.evaluate.methods)
    compiled: Compiled = {}
    with terminal.progress("evaluate", total) as bar:
        for source in config.evaluate.sources:
            entry = _evaluate_source(config, source, params, stored, compiled, directory, bar)
            result["sources"][source.name] = entry
            directory.write_json(directory.metrics_path.name, result)
    for name, entry in result["sources"].items():
        terminal.table(f"{name}: {entry['scenes']} scenes, value [95 % interval]", _rows(entry))
        for note in entry["notes"]:
            terminal.say(f"  {name}: {note}")
    return result


def stored_estimates(config: Config, source: SourceConfig, directory: RunDirectory) -> dict[str, Estimates]:
    """The estimates that an evaluation has left, by method in the order of the configuration; none where it has not."""
    stored: dict[str, Any] = dict(_read(directory))
    names = [name for name in config.evaluate.methods if f"{source.name}/{name}/active" in stored]
    return {
        name: Estimates(*(stored[f"{source.name}/{name}/{field}"] for field in Estimates._fields)) for name in names
    }


def _evaluate_source(
    config: Config,
    source: SourceConfig,
    params: Params | None,
    stored: Arrays,
    compiled: Compiled,
    directory: RunDirectory,
    bar: Bar,
) -> dict[str, Any]:
    scenes = load_scenes(config, source)
    fingerprint = _fingerprint(config, scenes)
    truth = {name: np.asarray(values) for name, values in scenes.sources._asdict().items()}
    if scenes.snr_db is not None:
        truth["snr_db"] = scenes.snr_db
    stored |= {f"{source.name}/truth/{name}": values for name, values in truth.items()}
    notes, done = list(scenes.notes), {}
    for method in config.evaluate.methods:
        refusal = _refusal(config, scenes, method)
        if refusal:
            notes.append(f"{method} is left out: {refusal}")
            continue
        prefix = f"{source.name}/{method}/"
        mark = fingerprint + (_digest(params) if method in LEARNED else "")
        if str(stored.get(prefix + "fingerprint", "")) != mark:
            fields = _run_method(config, scenes, method, params, compiled, bar)
            stored |= {prefix + name: values for name, values in fields.items()}
            stored[prefix + "fingerprint"] = np.asarray(mark)
            _write(directory, stored)
        else:
            bar.advance(len(scenes.sources.active), method=f"{method} (kept)")
        done[method] = {key.removeprefix(prefix): stored[key] for key in stored if key.startswith(prefix)}
    summary = summarise(
        {name: Estimates(*(fields[field] for field in Estimates._fields)) for name, fields in done.items()},
        scenes.sources,
        config.evaluate.tolerance,
        snr_db=scenes.snr_db,
        bound_std=bound_std(scenes),
        per_scene={
            name: {metric: fields[metric] for metric in _PER_SCENE if metric in fields} for name, fields in done.items()
        },
        draws=config.evaluate.bootstrap_draws,
        seed=config.run.seed,
    )
    timing = {
        name: {"compile_s": float(fields["seconds"][0]), "scene_s": float(fields["seconds"][1])}
        for name, fields in done.items()
    }
    return {**summary, "timing": timing, "notes": notes}


def _run_method(
    config: Config, scenes: EvaluationScenes, method: Method, params: Params | None, compiled: Compiled, bar: Bar
) -> Arrays:
    """A method's estimates, per-scene metrics and times; the last batch is filled up, so that there is one shape."""
    num_scenes, size = len(scenes.sources.active), config.evaluate.batch_size
    shown = Batch(
        scenes.observation,
        scenes.sources.active.sum(1).astype(np.int32) if method in TOLD_K else None,
        jnp.asarray(scenes.label_factor) if method in ORACLE else None,
    )

    def batch_at(start: int) -> Batch:
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[_rows_at(start, size, num_scenes)]), shown)

    address = (method, scenes.physics, jax.tree.map(lambda leaf: leaf.shape[1:], shown))
    if address not in compiled:
        started = time.perf_counter()
        function = jax.jit(make_method(config, scenes.physics, method, params)).lower(batch_at(0)).compile()
        compiled[address] = function, time.perf_counter() - started
    function, compile_s = compiled[address]
    jax.block_until_ready(function(batch_at(0)))  # warm-up: the first call allocates
    parts: list[Arrays] = []
    seconds = []
    for start in range(0, num_scenes, size):
        batch = jax.block_until_ready(batch_at(start))
        started = time.perf_counter()
        found = jax.block_until_ready(function(batch))
        seconds.append((time.perf_counter() - started) / size)
        part = dict(zip(Estimates._fields, jax.device_get(found.estimates), strict=True))
        if found.factor is not None and scenes.label_factor is not None:
            rows = _rows_at(start, size, num_scenes)
            count = jnp.asarray(scenes.sources.active[rows].sum(1).astype(np.int32))
            label = jnp.asarray(scenes.label_factor[rows])
            part |= jax.device_get(covariance_metrics(found.factor, label, count))
        parts.append(part)
        bar.advance(min(size, num_scenes - start), method=method)
    arrays = {name: np.concatenate([part[name] for part in parts])[:num_scenes] for name in parts[0]}
    return arrays | {"seconds": np.array([compile_s, np.median(seconds)])}


def _rows_at(start: int, size: int, num_scenes: int) -> np.ndarray:
    return np.minimum(np.arange(start, start + size), num_scenes - 1)


def _refusal(config: Config, scenes: EvaluationScenes, method: Method) -> str | None:
    if method in ORACLE and scenes.label_factor is None:
        return "the true covariance is not known"
    symbols = scenes.physics.scene.symbols
    if method in COMMON_FIELD and symbols != "constant":
        return f"it needs one coherent field in all snapshots, got scene.symbols = {symbols}"
    if method in LEARNED:
        mine, theirs = config.physics.array, scenes.physics.array
        if (mine.num_horizontal, mine.num_vertical) != (theirs.num_horizontal, theirs.num_vertical):
            return "the network was made for another surface"
    return None


def _rows(entry: dict[str, Any]) -> list[dict[str, str]]:
    rows = []
    for method, parts in entry["methods"].items():
        row = {"method": method}
        for metric in _SHOWN:
            figure = parts["overall"].get(metric)
            row[metric] = (
                "-" if figure is None else f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
            )
        rows.append(row | {"ms a scene": f"{1e3 * entry['timing'][method]['scene_s']:.1f}"})
    return rows


def _fingerprint(config: Config, scenes: EvaluationScenes) -> str:
    """Of what a method's answer depends on, the network apart."""
    text = config.model_dump_json(include={"covariance", "estimator", "model", "precision"})
    text += scenes.physics.model_dump_json()
    digest = hashlib.sha256(text.encode())
    for array in jax.tree.leaves((scenes.observation, scenes.sources)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _digest(params: Params | None) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _read(directory: RunDirectory) -> Arrays:
    """What an interrupted evaluation left; nothing where the file is absent or damaged."""
    try:
        with np.load(directory.estimates_path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError):
        return {}


def _write(directory: RunDirectory, arrays: Arrays) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # pyright: ignore[reportArgumentType]  (no array is named allow_pickle)
    write_atomically(directory.estimates_path, content.getvalue())
