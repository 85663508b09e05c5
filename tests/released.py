"""A tiny network as a release, untrained: what loading, predicting and exporting need, in a second."""

from pathlib import Path

import jax

from risjax.config import Config
from risjax.model import build
from risjax.release.write import write_release
from risjax.run_directory import RunDirectory
from tests.tiny import tiny_config


def tiny_release(folder: Path, **overrides: object) -> tuple[Path, Config]:
    """The folder of a release under ``folder``, and the configuration that it was made with."""
    config = tiny_config(**overrides)
    network = build(config.physics.array, config.model, config.precision)
    params = jax.jit(network.init)(jax.random.key(0))
    directory = RunDirectory(folder / "tiny")
    write_release(directory.path / "release", config, params, directory)
    return directory.path / "release", config
