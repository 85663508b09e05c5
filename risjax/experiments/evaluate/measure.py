"""Measurement of one method after the other on the same scenes; ``estimates.npz`` contains each scene's results.

The file contains ``<source>/truth/<field>`` and ``<source>/<method>/<field>`` with the fields of `Estimates`, those of
what was fitted (``fit_position`` ...), per-scene metrics such as ``nmse``, and ``seconds`` = (first call, a scene in
the steady state). It is rewritten after every method, so that an interrupted evaluation resumes with the next one.
"""

import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from risjax.config import Config, PhysicsConfig
from risjax.config.deprecated import current_array_name
from risjax.config.evaluate import Method
from risjax.covariance import factor_of_sources
from risjax.estimators import NotApplicableError
from risjax.experiments.evaluate.methods import (
    KNOWN_K,
    LEARNED,
    ORACLE,
    Batch,
    Found,
    covariance_metrics,
    make_method,
    needs_common_field,
)
from risjax.experiments.evaluate.scenes import EvaluationScenes
from risjax.model import Params
from risjax.runs.compiler_options import run_once
from risjax.runs.npz_io import read_arrays, write_arrays
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Bar
from risjax.types import Estimates, Geometry, Sources

Arrays = dict[str, np.ndarray]
Metrics = Callable[..., dict[str, Array]]
Compiled = dict[Any, tuple[Callable[[Params | None, Batch], Found], float]]
"""Methods and the seconds of their first calls, most of which is compilation, by method, physics and shapes: sources of
scenes may share them. A method that follows another on the same network does not compile its steps again."""
_PER_SCENE = ("nmse", "subspace_overlap", "nmse_of_fit", "subspace_overlap_of_fit")
_LAYOUT = "with what was fitted"
"""Version of the stored contents; files of an earlier version are recomputed."""
_FIT = "fit_"
"""Prefix of the fields of what a method fitted, which are those of `Sources`."""


def run_methods(
    config: Config,
    scenes: EvaluationScenes,
    name: str,
    params: Params | None,
    stored: Arrays,
    compiled: Compiled,
    directory: RunDirectory,
    bar: Bar,
) -> tuple[dict[str, Arrays], list[str]]:
    """Run every method of ``config.evaluate`` on the same scenes, except those with results in ``stored``.

    Args:
        config: methods, covariance, estimator, network.
        scenes: the scenes of one source.
        name: name of the source in ``estimates.npz``.
        params: of the network, for learned methods.
        stored: result of `read_estimates`; the truth and each method's fields are added.
        compiled: programs of the same configuration, kept for other scenes or other parameters.
        directory: where ``estimates.npz`` is rewritten after every method.
        bar: progress, advanced after each scene.

    Returns:
        Each method's fields (those of `Estimates`, per-scene metrics, ``seconds``), and notes on those left out.
    """
    fingerprint = _fingerprint(config, scenes)
    truth = {field: np.asarray(values) for field, values in scenes.sources._asdict().items()}
    if scenes.snr_db is not None:
        truth["snr_db"] = scenes.snr_db
    stored |= {f"{name}/truth/{field}": values for field, values in truth.items()}
    done: dict[str, Arrays] = {}
    notes = []
    for method in config.evaluate.methods:
        refusal = _refusal(config, scenes, method)
        if refusal:
            notes.append(f"{method} is left out: {refusal}")
            continue
        prefix = f"{name}/{method}/"
        mark = fingerprint + (_digest(params) if method in LEARNED else "")
        if str(stored.get(prefix + "fingerprint", "")) != mark:
            try:
                fields = _run_method(config, scenes, method, params, compiled, bar)
            except NotApplicableError as error:
                notes.append(f"{method} is left out: {error}")
                continue
            stored |= {prefix + field: values for field, values in fields.items()}
            stored[prefix + "fingerprint"] = np.asarray(mark)
            write_estimates(directory, stored)
        else:
            bar.advance(len(scenes.sources.active), method=f"{method} (kept)")
        done[method] = {key.removeprefix(prefix): stored[key] for key in stored if key.startswith(prefix)}
    return done, notes


def as_estimates(fields: Mapping[str, Any]) -> Estimates:
    """Return the estimates among a method's fields."""
    return Estimates(*(fields[field] for field in Estimates._fields))


def fitted_sources(fields: Mapping[str, Any]) -> Sources | None:
    """Return the fit to the snapshots among a method's fields; None if it has none."""
    names = [_FIT + field for field in Sources._fields]
    return Sources(*(fields[name] for name in names)) if names[0] in fields else None


def per_scene_metrics(fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the metrics of whole scenes among a method's fields."""
    return {metric: fields[metric] for metric in _PER_SCENE if metric in fields}


def _run_method(
    config: Config, scenes: EvaluationScenes, method: Method, params: Params | None, compiled: Compiled, bar: Bar
) -> Arrays:
    """Return a method's estimates, per-scene metrics and times. The last batch is padded to the size of the others."""
    num_scenes, size = len(scenes.sources.active), config.evaluate.batch_size
    shown = Batch(
        scenes.observation,
        scenes.sources.active.sum(1).astype(np.int32) if method in KNOWN_K else None,
        scenes.label_factor if method in ORACLE else None,
    )

    def batch_at(start: int) -> Batch:
        rows = _rows_at(start, size, num_scenes)
        return jax.device_put(jax.tree.map(lambda leaf: leaf[rows], shown))

    network = params if method in LEARNED else None
    address = (method, scenes.physics, jax.tree.map(lambda leaf: leaf.shape[1:], shown))
    function, compile_s = compiled.get(address, (_with_params(config, scenes.physics, method), None))
    started = time.perf_counter()
    jax.block_until_ready(function(network, batch_at(0)))  # compiles where it is the first call, and allocates
    compile_s = time.perf_counter() - started if compile_s is None else compile_s
    compiled[address] = function, compile_s
    parts: list[Arrays] = []
    seconds = []
    for start in range(0, num_scenes, size):
        batch = jax.block_until_ready(batch_at(start))
        started = time.perf_counter()
        found = jax.block_until_ready(function(network, batch))
        seconds.append((time.perf_counter() - started) / size)
        part = dict(zip(Estimates._fields, jax.device_get(found.estimates), strict=True))
        if found.fitted is not None:
            part |= {_FIT + field: values for field, values in jax.device_get(found.fitted)._asdict().items()}
        parts.append(part | _compare(scenes, found, _rows_at(start, size, num_scenes)))
        bar.advance(min(size, num_scenes - start), method=method)
    arrays = {name: np.concatenate([part[name] for part in parts])[:num_scenes] for name in parts[0]}
    return arrays | {"seconds": np.array([compile_s, np.median(seconds)])}


def _compare(scenes: EvaluationScenes, found: Found, rows: np.ndarray) -> Arrays:
    """Compare the covariances of a method with the true ones of some scenes."""
    if scenes.label_factor is None:
        return {}
    label = scenes.label_factor[rows]
    count = scenes.sources.active[rows].sum(1).astype(np.int32)
    metrics, metrics_of_fit = _compiled_metrics(scenes.physics)
    compared = {} if found.factor is None else metrics(found.factor, label, count)
    if found.fitted is not None:
        geometry = jax.tree.map(lambda leaf: leaf[rows], scenes.observation.geometry)
        of_fit = metrics_of_fit(found.fitted, geometry, label, count)
        compared = compared | {f"{name}_of_fit": values for name, values in of_fit.items()}
    return jax.device_get(compared)


@functools.lru_cache(maxsize=4)
def _compiled_metrics(
    physics: PhysicsConfig,
) -> tuple[Callable[..., dict[str, Array]], Callable[..., dict[str, Array]]]:
    """Return the programs for the metrics of a covariance's factor and of fitted sources."""

    def metrics_of_fit(fitted: Sources, geometry: Geometry | None, label: Array, count: Array) -> dict[str, Array]:
        factor = jax.vmap(lambda fit, surface: factor_of_sources(fit, physics, surface))(fitted, geometry)
        return covariance_metrics(factor, label, count)

    options = run_once()
    return jax.jit(covariance_metrics, compiler_options=options), jax.jit(metrics_of_fit, compiler_options=options)


def _with_params(config: Config, physics: PhysicsConfig, method: Method) -> Callable[[Params | None, Batch], Found]:
    """Return a method with parameters as an argument, so that networks of one shape share its programs."""
    if method in LEARNED:
        return lambda params, batch: make_method(config, physics, method, params)(batch)
    fixed = make_method(config, physics, method, None)
    return lambda _, batch: fixed(batch)


def _rows_at(start: int, size: int, num_scenes: int) -> np.ndarray:
    return np.minimum(np.arange(start, start + size), num_scenes - 1)


def _refusal(config: Config, scenes: EvaluationScenes, method: Method) -> str | None:
    if method in ORACLE and scenes.label_factor is None:
        return "the true covariance is not known"
    symbols = scenes.physics.scene.symbols
    if needs_common_field(method, config.model) and symbols != "constant":
        return f"it needs one coherent field in all snapshots, got scene.symbols = {symbols}"
    if method in LEARNED:
        network_array, scene_array = config.physics.array, scenes.physics.array
        if (network_array.num_horizontal, network_array.num_vertical) != (
            scene_array.num_horizontal,
            scene_array.num_vertical,
        ):
            return "the network was made for another surface"
    return None


def _fingerprint(config: Config, scenes: EvaluationScenes) -> str:
    """Return a fingerprint of a method's settings, without the network, and of the stored contents."""
    text = _LAYOUT + config.model_dump_json(include={"covariance", "estimator", "model", "precision"})
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


def read_estimates(directory: RunDirectory) -> Arrays:
    """Return the stored results of an interrupted evaluation; empty if the file is absent or damaged."""
    return {current_array_name(name): values for name, values in read_arrays(directory.estimates_path).items()}


def write_estimates(directory: RunDirectory, arrays: Arrays) -> None:
    """Write ``estimates.npz`` of a directory, whole."""
    write_arrays(directory.estimates_path, arrays)
