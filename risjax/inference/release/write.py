"""The stage ``release``: a trained run's network as a folder that can be copied, shipped and loaded.

====================== ==========================================================
weights.safetensors    the EMA parameters of the best checkpoint
config.yaml            the complete configuration of the training
metrics.json           the run's evaluation, with intervals
card.md                description, data, training, accuracy and limits
====================== ==========================================================
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import risjax
from risjax.config import Config
from risjax.config.io import to_yaml
from risjax.config.weights import CONFIG_NAME, WEIGHTS_NAME
from risjax.inference.release.card import make_card
from risjax.model import Params
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.safetensors_io import write_weights
from risjax.runs.terminal import Terminal

METRICS_NAME = "metrics.json"
CARD_NAME = "card.md"


def release(config: Config, directory: RunDirectory, terminal: Terminal) -> Path:
    """Writes ``<run>/release``.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: no trained network.
        CheckpointError: the checkpoints are damaged.
    """
    from risjax.train.loop import load_best_checkpoint  # 0.8 s of orbax and optax, which `risjax.load` does not need

    best = load_best_checkpoint(config, directory)
    folder = directory.path / "release"
    # Without epochs whose checkpoint is lost: the card describes the training of these weights.
    log = [record for record in directory.read_log() if record["kind"] != "epoch" or record["epoch"] <= best.last_epoch]
    write_release(folder, config, best.params, directory, log, best.best_epoch)
    size = (folder / WEIGHTS_NAME).stat().st_size
    terminal.say(f"{folder}: {size / 1e6:.2f} MB; use it with weights={folder}, or copy it")
    if not directory.metrics_path.exists():
        terminal.warn("the network was not evaluated, which its card states; run evaluate before release")
    return folder


def write_release(
    folder: Path,
    config: Config,
    params: Params,
    directory: RunDirectory,
    log: Sequence[Mapping[str, Any]] = (),
    best_epoch: int | None = None,
) -> None:
    """Write the four files, the weights last: a folder with weights is a release.

    Args:
        folder: of the release.
        config: of the training.
        params: of the network.
        directory: of the run.
        log: of the training, for the card.
        best_epoch: epoch of ``params``.
    """
    stored = jax.tree.map(lambda leaf: _narrowed(leaf, config.release.dtype), params)
    name = config.release.name or directory.path.resolve().name
    metrics = directory.read_json("metrics.json", {"sources": {}})
    anywhere = config.model_copy(
        update={"run": config.run.model_copy(update={"directory": None, "compile_cache": "auto"})}
    )
    write_atomically(folder / CONFIG_NAME, to_yaml(anywhere))
    write_atomically(folder / METRICS_NAME, json.dumps(metrics, indent=2) + "\n")
    weights = folder / f".{WEIGHTS_NAME}.part"
    write_weights(weights, stored, {"name": name, "risjax": risjax.__version__})
    card = make_card(name, config, log, best_epoch, metrics, weights, stored)
    write_atomically(folder / CARD_NAME, card)
    weights.rename(folder / WEIGHTS_NAME)


def write_network(folder: Path, config: Config, params: Params, card: str) -> Path:
    """Write a network without its training's log and metrics, so that loading returns the same parameters; the weights
    last."""
    for name in (WEIGHTS_NAME, CARD_NAME, METRICS_NAME):
        (folder / name).unlink(missing_ok=True)
    write_atomically(folder / CONFIG_NAME, to_yaml(config.model_copy(update={"weights": None})))
    if card:
        write_atomically(folder / CARD_NAME, card)
    write_weights(folder / WEIGHTS_NAME, params, {"name": folder.resolve().name, "risjax": risjax.__version__})
    return folder


def _narrowed(leaf: jax.Array, dtype: str) -> jax.Array:
    return leaf.astype(jnp.dtype(dtype)) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
