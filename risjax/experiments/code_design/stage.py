"""The stage ``design``: common codes for the distribution of channels, and their comparison with other codebooks.

``codes.npy`` contains the codes, for ``physics.codebook.kind = file``. ``design.npz`` is the state of the gradient
steps; it is rewritten every `CHUNK` steps, so that an interrupted run resumes. ``design.json`` contains the comparison.
"""

import hashlib
import io
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Integer, Key

from risjax.config import Config, DesignStageConfig, PhysicsConfig
from risjax.experiments.code_design.comparison import compare_codebooks
from risjax.experiments.code_design.figures import write_figures
from risjax.keys import Purpose, purpose_key
from risjax.physics.code_design.optimise import DesignState, first_state
from risjax.physics.code_design.shared import shared_codes, shared_step
from risjax.runs.npz_io import read_marked_arrays, write_marked_arrays
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.terminal import Terminal

CODES_FILE, STATE_FILE, RESULT_FILE = "codes.npy", "design.npz", "design.json"
CHUNK = 10
"""Gradient steps in one call of the compiled program."""


class DesignError(RuntimeError):
    """The codes cannot be designed; the message gives the reason."""


def design(config: Config, directory: RunDirectory, terminal: Terminal) -> dict[str, Any]:
    """Design common codes, write them, and compare them with DFT, random and, if configured, per-channel codes.

    Returns:
        The contents of ``design.json``: ``codebooks`` and ``minus_dft`` with the metrics and their 95 % intervals,
        paired by scene, ``values`` of the criterion by step, and ``tables`` for the report.

    Raises:
        DesignError: the SNR refers to the received power, which hides the differences between codes.
    """
    if config.physics.scene.snr_reference != "transmitted":
        raise DesignError(
            "got physics.scene.snr_reference = received, expected transmitted: with the received power the noise "
            "follows the codes, and codes that receive more of the signal gain nothing"
        )
    codes, values = _common_codes(config, directory, terminal)
    path = directory.path / CODES_FILE
    content = io.BytesIO()
    np.save(content, codes)
    write_atomically(path, content.getvalue())
    result = compare_codebooks(config, path, directory, terminal)
    result["values"] = values
    directory.write_json(RESULT_FILE, result)
    write_figures(config.physics, codes, directory)
    for title, rows in result["tables"].items():
        terminal.table(title, rows)
    return result


def _common_codes(
    config: Config, directory: RunDirectory, terminal: Terminal
) -> tuple[Complex[np.ndarray, "L N"], list[float]]:
    """Codes, and the value of the criterion before each gradient step."""
    physics, settings = config.physics, config.design
    path, mark = directory.path / STATE_FILE, _fingerprint(config)
    key = purpose_key(config.run.seed, Purpose.DESIGN)
    start_key, step_key, last_key = jax.random.split(key, 3)
    state = first_state(start_key, physics)
    state, values = _read(path, mark, state)
    with terminal.progress("design", settings.steps, completed=len(values)) as bar:
        while len(values) < settings.steps:
            count = min(CHUNK, settings.steps - len(values))
            state, chunk = _advance(state, step_key, jnp.asarray(len(values)), config.physics, settings, count)
            values += np.asarray(chunk).tolist()
            _write(path, mark, state, values)
            bar.advance(count, criterion=f"{values[-1]:.3f}")
    return np.asarray(_finish(state, last_key, physics, settings.channels)), values


@partial(jax.jit, static_argnums=(3, 4, 5))
def _advance(
    state: DesignState,
    key: Key[Array, ""],
    first: Integer[Array, ""],
    physics: PhysicsConfig,
    settings: DesignStageConfig,
    count: int,
) -> tuple[DesignState, Float[Array, " C"]]:
    def step(state: DesignState, index: Array) -> tuple[DesignState, Array]:
        return shared_step(state, jax.random.fold_in(key, index), physics, settings.steps, settings.channels)

    return jax.lax.scan(step, state, first + jnp.arange(count))


_finish = jax.jit(shared_codes, static_argnums=(2, 3))


def _fingerprint(config: Config) -> str:
    text = config.physics.model_dump_json() + config.design.model_dump_json(include={"channels", "steps"})
    return hashlib.sha256(f"{text} {config.run.seed}".encode()).hexdigest()[:16]


def _read(path: Path, mark: str, first: DesignState) -> tuple[DesignState, list[float]]:
    """The stored state and values; those of the start where the file is absent, damaged or of other settings."""
    arrays = read_marked_arrays(path, mark)
    if not arrays:
        return first, []
    leaves, structure = jax.tree.flatten(first)
    stored = [jnp.asarray(arrays[f"leaf_{index}"]) for index in range(len(leaves))]
    return jax.tree.unflatten(structure, stored), arrays["values"].tolist()


def _write(path: Path, mark: str, state: DesignState, values: list[float]) -> None:
    arrays = {f"leaf_{index}": np.asarray(leaf) for index, leaf in enumerate(jax.tree.leaves(state))}
    write_marked_arrays(path, mark, {"values": np.asarray(values), **arrays})
