"""Comparison of codebooks on the same scenes: sources, channels and noise are those of the keys, whatever the codes."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Integer

from risjax.config import CodebookConfig, Config, PhysicsConfig
from risjax.data.stream import scene_batch
from risjax.experiments.evaluate.methods import LEARNED, Batch, make_method
from risjax.inference.release.load import load_params
from risjax.keys import Purpose
from risjax.metrics.bootstrap import Drawn, Ratio, difference, draw_ratios, scene_weights
from risjax.metrics.scoring import score
from risjax.model import Params
from risjax.runs.npz_io import read_marked_arrays, write_marked_arrays
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Bar, Terminal
from risjax.runs.text_tables import Row, interval_text
from risjax.types import Scene

METRICS = ("f1_3d", "f1_angle", "gospa_m", "k_accuracy", "received")
SCENES_FILE = "design_scenes.npz"
Arrays = dict[str, np.ndarray]


def codebooks(config: Config, path: Path) -> dict[str, CodebookConfig]:
    """The compared codebooks by name, all with the snapshots and bits of ``physics.codebook``."""
    given = config.physics.codebook
    common = {"path": None, "measured": False}
    compared = {
        "dft": given.model_copy(update=common | {"kind": "dft"}),
        "random": given.model_copy(update=common | {"kind": "random"}),
        "designed": given.model_copy(update=common | {"kind": "file", "path": str(path)}),
    }
    if config.design.each_channel:
        compared["each_channel"] = given.model_copy(update=common | {"kind": "designed"})
    return compared


def compare_codebooks(config: Config, path: Path, directory: RunDirectory, terminal: Terminal) -> dict[str, Any]:
    """Metrics of one method with each codebook, and their differences to DFT codes, paired by scene.

    Args:
        config: physics, method, scenes.
        path: file of the designed codes.
        directory: of the run; scores of finished codebooks are kept in ``design_scenes.npz``.
        terminal: progress.
    """
    settings = config.design
    params = load_params(config, directory) if settings.method in LEARNED else None
    compared = codebooks(config, path)
    file, mark = directory.path / SCENES_FILE, _fingerprint(config, path)
    stored = read_marked_arrays(file, mark)
    done = sum(f"{name}/f1_3d/0" in stored for name in compared)
    with terminal.progress("compare", settings.scenes * len(compared), completed=done * settings.scenes) as bar:
        for name, codebook in compared.items():
            if f"{name}/f1_3d/0" not in stored:
                physics = config.physics.model_copy(update={"codebook": codebook})
                stored |= {f"{name}/{key}": value for key, value in _scores(config, physics, params, name, bar).items()}
                write_marked_arrays(file, mark, stored)
    drawn = _drawn(stored, list(compared), settings.scenes, config)
    return {
        "method": settings.method,
        "scenes": settings.scenes,
        "codebooks": {
            name: {metric: entry.interval() for metric, entry in table.items()} for name, table in drawn.items()
        },
        "minus_dft": {
            name: {metric: difference(table[metric], drawn["dft"][metric]) for metric in METRICS}
            for name, table in drawn.items()
            if name != "dft"
        },
        "tables": _tables(drawn, settings.method, settings.scenes),
    }


def _scores(config: Config, physics: PhysicsConfig, params: Params | None, name: str, bar: Bar) -> Arrays:
    """Numerator and denominator of each metric for every scene."""
    method = make_method(config, physics, config.design.method, params)
    size, count = config.evaluate.batch_size, config.design.scenes
    parts: list[dict[str, Ratio]] = []
    for index in range(-(-count // size)):
        scenes = _draw(physics, np.uint32(config.run.seed), index, size)
        estimates = jax.device_get(method(Batch(scenes.observation, None, None)).estimates)
        sources = jax.device_get(scenes.truth.sources)
        ratios = score(estimates, sources, config.evaluate.tolerance).ratios
        parts.append({metric: ratios[metric] for metric in METRICS[:4]} | {"received": _received(scenes)})
        bar.advance(min(size, count - index * size), codes=name)
    return {
        f"{metric}/{part}": np.concatenate([np.asarray(scores[metric][part], float) for scores in parts])[:count]
        for metric in METRICS
        for part in (0, 1)
    }


def _received(scenes: Scene) -> Ratio:
    """Received signal power over the transmitted one: 1 on average for codes of independent uniform phases."""
    energy = np.mean(np.abs(np.asarray(scenes.observation.snapshots)) ** 2, axis=(1, 2))
    noise = np.asarray(scenes.truth.noise_variance)
    snr = 10 ** (np.asarray(scenes.truth.snr_db) / 10)
    return Ratio((energy - noise) / (noise * snr), np.ones(len(noise)))


@partial(jax.jit, static_argnums=(0, 3))
def _draw(physics: PhysicsConfig, seed: Integer[Array, ""], index: int | Integer[Array, ""], size: int) -> Scene:
    return scene_batch(physics, seed, Purpose.DESIGN_SCENES, index, size)


def _drawn(stored: Arrays, names: list[str], count: int, config: Config) -> dict[str, dict[str, Drawn]]:
    weights = scene_weights(count, config.evaluate.bootstrap_draws, config.run.seed)
    return {
        name: draw_ratios(
            {metric: Ratio(stored[f"{name}/{metric}/0"], stored[f"{name}/{metric}/1"]) for metric in METRICS}, weights
        )
        for name in names
    }


def _tables(drawn: dict[str, dict[str, Drawn]], method: str, scenes: int) -> dict[str, list[Row]]:
    values = [
        {"codes": name} | {metric: interval_text(entry.interval()) for metric, entry in table.items()}
        for name, table in drawn.items()
    ]
    differences = [
        {"codes": f"{name} minus dft"}
        | {metric: interval_text(difference(table[metric], drawn["dft"][metric]), "+") for metric in METRICS}
        for name, table in drawn.items()
        if name != "dft"
    ]
    title = f"{method} on {scenes} scenes, equal transmitted power, value [95 % interval]"
    return {title: values, "Differences to DFT codes, paired by scene": differences}


def _fingerprint(config: Config, path: Path) -> str:
    text = config.model_dump_json(include={"physics", "design", "evaluate", "estimator", "model", "weights"})
    digest = hashlib.sha256(f"{text} {config.run.seed}".encode())
    digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
