"""Settings of every test. The environment comes first: risjax sets it, and jaxlib reads it when it is loaded."""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # two workers may share a GPU

import risjax  # noqa: F401

# isort: split
import gc
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

MOST_GROWTH = 3 * 2**29
"""Bytes by which a worker may grow before its compiled programs, all of which are kept, are given back."""
_level = 0


def _resident_bytes() -> int:
    """Of this process; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory() -> Iterator[None]:
    global _level
    yield
    if _resident_bytes() > _level + MOST_GROWTH:
        jax.clear_caches()
        gc.collect()
        _level = _resident_bytes()  # freed memory stays with the process (risjax.allocator), and is used again
