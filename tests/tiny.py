"""Smallest configuration of the complete pipeline: 6 x 6 elements, one narrow block, batches of four."""

from typing import Any

from risjax.config import Config
from risjax.config.io import apply_overrides

TINY: dict[str, Any] = {
    "physics.array.num_horizontal": 6,
    "physics.array.num_vertical": 6,
    "physics.codebook.num_snapshots": 8,
    "physics.channel.num_antennas": 8,
    "physics.scene.max_sources": 2,
    "physics.scene.num_sources": [1, 2],
    "model.width": 16,
    "model.layers": 1,
    "model.heads": 2,
    "model.rank": 3,
    "estimator.grid.num_azimuth": 13,
    "estimator.grid.num_elevation": 7,
    "estimator.grid.num_range": 4,
    "estimator.posterior.grid.num_azimuth": 9,
    "estimator.posterior.grid.num_elevation": 5,
    "estimator.posterior.grid.num_range": 3,
    "train.posterior.scenes": 0,
    "train.batch_size": 4,
    "train.steps_per_epoch": 6,
    "train.epochs": 2,
    "train.validation_scenes": 6,
    "evaluate.batch_size": 4,
    "evaluate.bootstrap_draws": 50,
}


def tiny_config(**overrides: Any) -> Config:
    """The tiny configuration; ``overrides`` are dotted paths with ``__`` for the dot."""
    values = TINY | {path.replace("__", "."): value for path, value in overrides.items()}
    return apply_overrides(Config(stages=("train",)), values)
