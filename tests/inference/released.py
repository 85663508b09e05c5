"""A tiny untrained network as a release, for tests of loading, predicting and exporting."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from risjax.config import ArrayConfig, Config, ModelConfig, PrecisionConfig
from risjax.detection.candidate_features import num_features
from risjax.inference.release.write import write_release
from risjax.model import Params, build
from risjax.pipeline import POSTERIOR, make_posterior
from risjax.runs.run_directory import RunDirectory
from tests.tiny import tiny_config


@functools.lru_cache
def _untrained(array: ArrayConfig, model: ModelConfig, precision: PrecisionConfig) -> Params:
    return jax.jit(build(array, model, precision).init)(jax.random.key(0))


def tiny_release(folder: Path, *, posterior: bool = True, **overrides: Any) -> tuple[Path, Config]:
    """The folder of a release under ``folder``, and the configuration that it was made with."""
    config = tiny_config(**overrides)
    key, zeros = jax.random.key(0), jnp.zeros(num_features(config.physics.scene.max_sources))
    params = dict(_untrained(config.physics.array, config.model, config.precision))
    if posterior:
        head = make_posterior(config.physics, config.model).init(key, zeros, zeros + 1)
        head["existence"]["bias"] = jnp.full(1, 2.0)  # it believes in what it is shown
        params[POSTERIOR] = head
    directory = RunDirectory(folder / "tiny")
    write_release(directory.path / "release", config, params, directory)
    return directory.path / "release", config
