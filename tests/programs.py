"""What the tests' programs are compiled with. To be imported before anything that loads jaxlib, which reads it.

Nearly all of the suite's time is XLA's compiler. The rooms in `OPTIMISED` run what a user's machine would run; the
others' programs, and those of the processes that tests start, are compiled with LLVM's optimisations left out and by
XLA's older emitters (`tests.emitters`), and all processes of a run share what they have compiled.
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
"""Rooms, and files beside them, whose tests are of rounding, NaN and derivatives: compiled as they are for a user."""


def flags_of_devices(count: int) -> str:
    """``XLA_FLAGS`` of a process with so many CPU devices, beside what they are here."""
    return f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"


def left_out(test: Path) -> bool:
    """Whether LLVM's optimisations are left out in the programs of a file of tests."""
    where = test.relative_to(Path(__file__).parent)
    return MAY_LEAVE_OUT and not OPTIMISED & {*where.parts[:-1], where.stem}
