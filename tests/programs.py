"""Compiler settings of the tests; import before any module that loads jaxlib, which reads them.

Nearly all of the suite's time is XLA's compiler. Tests in `OPTIMISED` are compiled as for a user. All
other programs, including those of subprocesses, are compiled without LLVM optimisations and by the older emitters
of XLA (`tests.emitters`). All processes share their compiled programs and keep them for the next run, in
``.pytest_cache`` or the folder of ``RISJAX_CACHE_DIR``, never in the user's cache.
``JAX_DISABLE_MOST_OPTIMIZATIONS=0 pytest`` optimises everything.
"""

import os
from pathlib import Path

from risjax.runs.cache_entries import prune, remove_damaged
from risjax.runs.compile_cache import MAX_BYTES, cache_root, programs_folder

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # two workers may share a GPU
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
MAY_LEAVE_OUT = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
_ROOT = cache_root() if "RISJAX_CACHE_DIR" in os.environ else Path(__file__).parents[1] / ".pytest_cache" / "risjax"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ and _ROOT is not None:  # workers and their children inherit it
    _FOLDER = programs_folder(_ROOT)
    _FOLDER.mkdir(parents=True, exist_ok=True)
    remove_damaged(_FOLDER)
    prune(_ROOT, MAX_BYTES)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_FOLDER)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

OPTIMISED = {
    *("torch_baseline", "linalg", "loss", "metrics", "model", "physics"),
    *("test_checks", "test_covariance", "test_precision"),
}
"""Test folders and files on rounding, NaN and derivatives, which are compiled as for a user."""


def flags_of_devices(count: int) -> str:
    """Return the current ``XLA_FLAGS`` extended by a number of CPU devices."""
    return f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"


def left_out(test: Path) -> bool:
    """Return True if programs of a test file are compiled without LLVM optimisations."""
    where = test.relative_to(Path(__file__).parent)
    return MAY_LEAVE_OUT and not OPTIMISED & {*where.parts[:-1], where.stem}
