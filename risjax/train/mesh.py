"""The devices that share the batches of a training: every one draws its scenes, holds a copy of all parameters, and
adds its part of the gradient.

What one device computes of its share is the program that a lone device runs of a whole batch, under `jax.shard_map`:
the partitioner never decides what moves, and batched factorisations, whose loops it would gather, stay where they
are. One sum of the gradients a step is all that travels.
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
    """The devices of a training, or None for a single one.

    ``train.devices`` of them; where it is null all that there are, or the largest number of them that divides
    ``train.batch_size / train.accumulation``. Several processes always train on all devices of all.

    Raises:
        ConfigError: there are not so many devices, or those of several processes do not divide the batch.
    """
    devices = jax.devices()
    count = _count(config, devices)
    return None if count == 1 else Mesh(np.asarray(devices[:count]), (AXIS,), axis_types=(AxisType.Auto,))


def check_devices(config: Config) -> None:
    """Refuses what these devices cannot do, before a run writes anything.

    Raises:
        ConfigError: there are not so many devices, they do not divide the batch, or a population is to train on several
            processes.
    """
    make_mesh(config.train)
    if config.search.population > 1 and "search" in config.stages and jax.process_count() > 1:
        text = f"a population trains on one device, got {config.search.population} with several processes; take 1"
        raise ConfigError([Problem("search.population", "", text)])


def replicate(tree: Tree, mesh: Mesh | None) -> Tree:
    """A tree with a copy on every device of the mesh, which other processes make of the same values."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec())

    def place(leaf: jax.Array) -> jax.Array:
        value = np.asarray(leaf)
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

    return jax.tree.map(place, tree)


def one_copy(tree: Tree) -> Tree:
    """A replicated tree as the first device of this process has it."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def _count(config: TrainConfig, devices: Sequence[Any]) -> int:
    asked, available = config.devices, len(devices)
    if jax.process_count() > 1:
        if asked not in (None, available):
            text = f"got {asked}, but {jax.process_count()} processes train on all of their {available} devices"
            raise ConfigError([Problem("train.devices", "", text)])
        if config.batch_size % (available * config.accumulation):
            parts = f", in {config.accumulation} parts each," if config.accumulation > 1 else ""
            whole = available * config.accumulation
            text = (
                f"the {available} devices of {jax.process_count()} processes{parts} must divide it, got "
                f"{config.batch_size}; try {-(-config.batch_size // whole) * whole}"
            )
            raise ConfigError([Problem("train.batch_size", "", text)])
        return available
    if asked is None:
        parts = config.batch_size // config.accumulation
        return next(count for count in range(available, 0, -1) if parts % count == 0)
    if asked > available:
        text = f"got {asked}, but there are {available} here ({devices[0].device_kind})"
        raise ConfigError([Problem("train.devices", "", text)])
    return asked
