"""Settings of every test. The environment comes first: risjax sets it, and jaxlib reads it when it is loaded."""

import risjax  # noqa: F401

# isort: split
import gc
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

MOST_MEMORY = 3 * 2**30
"""Bytes that the process may hold when a file of tests ends: every compiled program is kept, and they are many."""


def _resident_bytes() -> int:
    """Of this process; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory() -> Iterator[None]:
    yield
    if _resident_bytes() > MOST_MEMORY:
        jax.clear_caches()
        gc.collect()
