"""Compiler settings of the tests; import before any module that loads jaxlib, which reads them.

Nearly all of the suite's time is XLA's compiler. Tests in `OPTIMISED` are compiled as for a user. All
other programs, including those of subprocesses, are compiled without LLVM optimisations and by the older emitters
of XLA (`tests.emitters`). All processes of a run share their compiled programs.
``JAX_DISABLE_MOST_OPTIMIZATIONS=0 pytest`` optimises everything.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # two workers may share a GPU
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
MAY_LEAVE_OUT = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # in the first process: workers inherit its choice
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="risjax-programs-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

OPTIMISED = {"torch_baseline", "linalg", "loss", "metrics", "model", "physics"}
OPTIMISED |= {"test_checks", "test_covariance", "test_precision"}
"""Test folders and files on rounding, NaN and derivatives, which are compiled as for a user."""


def flags_of_devices(count: int) -> str:
    """Return the current ``XLA_FLAGS`` extended by a number of CPU devices."""
    return f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"


def left_out(test: Path) -> bool:
    """Return True if programs of a test file are compiled without LLVM optimisations."""
    where = test.relative_to(Path(__file__).parent)
    return MAY_LEAVE_OUT and not OPTIMISED & {*where.parts[:-1], where.stem}
