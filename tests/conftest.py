"""Settings of every test. The environment comes first: `tests.programs` and risjax set it, and jaxlib reads it."""

from tests import programs  # isort: split

import risjax  # noqa: F401

# isort: split
import ctypes
import gc
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
if "JAX_COMPILATION_CACHE_DIR" in os.environ:  # a plugin of pytest may have imported jax before `tests.programs`
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    minimum_s = float(os.environ.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", minimum_s)

MOST_GROWTH = 2**30
"""Memory growth of a worker in bytes at which its compiled programs are released."""
_level = 0
_left_out = programs.MAY_LEAVE_OUT

COMPAT = (
    "_compat/",
    "data/test_chunks.py",
    "experiments/audit/test_audit.py::test_no_call_hides",
    "experiments/search/test_storage.py",
    "inference/test_export.py",
    "runs/test_environment.py::test_importing_jax_alone",
    "test_checks.py",
    "train/test_locate_nonfinite.py::test_the_line_is_found",
    "train/test_loop.py",
    "train/test_multihost.py",
)
"""Beginnings of the tests that depend on the versions of Python and jax: each is marked ``compat``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(COMPAT):
            item.add_marker(pytest.mark.compat)


@pytest.fixture(autouse=True, scope="module")
def _optimisations(request: pytest.FixtureRequest) -> None:
    """Set LLVM optimisations as the test file requires (always on for a GPU); clear caches on a change."""
    global _left_out
    if (jax.default_backend() == "cpu" and programs.left_out(request.path)) != _left_out:
        _left_out = not _left_out
        jax.config.update("jax_disable_most_optimizations", _left_out)
        jax.clear_caches()


def _resident_bytes() -> int:
    """Return the resident memory of this process; 0 if the system does not report it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0


def _release_programs() -> None:
    """Release compiled programs and return their memory to the system, which glibc keeps unless it is asked."""
    jax.clear_caches()
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory() -> Iterator[None]:
    global _level
    yield
    if _resident_bytes() > _level + MOST_GROWTH:
        _release_programs()
        _level = _resident_bytes()
