"""Batches of a few sizes, so that any number of scenes runs through few compiled programs."""

from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np

Scenes = TypeVar("Scenes")
Result = TypeVar("Result")

MOST_SCENES = 64
"""Scenes that go through a program together; more are cut into such batches."""


def filled(program: Callable[[Scenes], Result], scenes: Scenes, size: int) -> Result:
    """Result of a program, on the host, for at most ``size`` scenes, repeating the last one up to ``size``."""
    count = len(jax.tree.leaves(scenes)[0])
    rows = np.minimum(np.arange(size), count - 1)
    found = jax.device_get(program(jax.tree.map(lambda array: np.ascontiguousarray(array[rows]), scenes)))
    return jax.tree.map(lambda leaf: leaf[:count], found)


def in_batches(program: Callable[[Scenes], Result], scenes: Scenes) -> Result:
    """Result of a program, on the host, for any number of scenes: at most `MOST_SCENES` at a time.

    Args:
        program: from a batch of scenes to arrays with a leading axis of scenes.
        scenes: arrays with a leading axis of scenes.
    """
    count = len(jax.tree.leaves(scenes)[0])
    size = min(MOST_SCENES, 1 << (count - 1).bit_length())
    parts = [
        filled(program, jax.tree.map(lambda array, at=start: array[at : at + size], scenes), size)
        for start in range(0, count, size)
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
