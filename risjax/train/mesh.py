"""Data parallelism: each device draws its share of the scenes, holds all parameters and adds its part of the gradient.

Under `jax.shard_map` each device runs, on its share, the same program that a single device runs on a whole batch. The
partitioner thus makes no decisions, and batched factorisations, whose loops it would gather, stay on their devices. The
only communication is one sum of the gradients in each step.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from risjax.config import Config, TrainConfig
from risjax.config.errors import ConfigError, Problem

AXIS = "scenes"
"""The mesh's only axis."""

Tree = TypeVar("Tree")


def make_mesh(config: TrainConfig) -> Mesh | None:
    """Return the devices of a training, or None for a single one.

    Their number is ``train.devices``; if that is null, the largest number of available devices that divides
    ``train.batch_size / train.accumulation``. Several processes always train on all of their devices.

    Raises:
        ConfigError: fewer devices are available, or those of several processes do not divide the batch.
    """
    devices = jax.devices()
    count = _count(config, devices)
    return None if count == 1 else Mesh(np.asarray(devices[:count]), (AXIS,), axis_types=(AxisType.Auto,))


def check_devices(config: Config) -> None:
    """Check the configuration against the available devices, before a run writes anything.

    Raises:
        ConfigError: fewer devices are available, they do not divide the batch, or a population would train on several
            processes.
    """
    make_mesh(config.train)
    if config.search.population > 1 and "search" in config.stages and jax.process_count() > 1:
        text = f"got {config.search.population}, expected 1: of several processes, none trains a population"
        raise ConfigError([Problem("search.population", "", text)])


def replicate(tree: Tree, mesh: Mesh | None) -> Tree:
    """Return a tree with a copy on every device of the mesh; other processes make theirs from the same values."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec())

    def place(leaf: jax.Array) -> jax.Array:
        value = np.asarray(leaf)
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

    return jax.tree.map(place, tree)


def one_copy(tree: Tree) -> Tree:
    """Return the copy of a replicated tree on the first device of this process."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def _count(config: TrainConfig, devices: Sequence[Any]) -> int:
    asked, available = config.devices, len(devices)
    if jax.process_count() > 1:
        if asked not in (None, available):
            text = (
                f"got {asked}, expected {available} or null: {jax.process_count()} processes train on all their devices"
            )
            raise ConfigError([Problem("train.devices", "", text)])
        if config.batch_size % (available * config.accumulation):
            parts = f", in {config.accumulation} parts each," if config.accumulation > 1 else ""
            whole = available * config.accumulation
            text = (
                f"got {config.batch_size}, expected a multiple of {whole}: the {available} devices of "
                f"{jax.process_count()} processes{parts} share it; try {-(-config.batch_size // whole) * whole}"
            )
            raise ConfigError([Problem("train.batch_size", "", text)])
        return available
    if asked is None:
        parts = config.batch_size // config.accumulation
        return next(count for count in range(available, 0, -1) if parts % count == 0)
    if asked > available:
        text = f"got {asked}, expected at most {available}, the devices of this machine ({devices[0].device_kind})"
        raise ConfigError([Problem("train.devices", "", text)])
    return asked
