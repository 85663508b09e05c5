"""Compiler settings of the tests; import before any module that loads jaxlib, which reads them.

Nearly all of the suite's time is XLA's compiler. Tests in `LEFT_OUT` and the subprocesses of all tests compile without
LLVM optimisations, by a public setting of jax; other programs are compiled as for a user. All processes share their
compiled programs and keep them for the next run, in ``.pytest_cache`` or the folder of ``RISJAX_CACHE_DIR``, never in
the user's cache. ``JAX_DISABLE_MOST_OPTIMIZATIONS=0 pytest`` optimises everything.
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

_EXPERIMENTS = ("ablate", "audit", "bayes_limit", "code_design", "compare", "evaluate", "search", "tune")
LEFT_OUT = (
    *("data", "detection", "estimators", "inference", "report", "runs", "stages", "train"),
    *(f"experiments/{folder}" for folder in _EXPERIMENTS),
    *("test_api", "test_docs_examples", "test_end_to_end", "test_extending", "test_gpu_benchmark", "test_invariances"),
    *("test_pipeline", "test_pipeline_gradient", "test_readme", "test_resume", "test_tutorial"),
)
"""Test folders and files whose programs are large and run a few times, on what the parts do together: optimising these
programs takes several times as long as their tests. Rounding, NaN and derivatives are tested in the other folders."""


def flags_of_devices(count: int) -> str:
    """Return the current ``XLA_FLAGS`` extended by a number of CPU devices."""
    return f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"


def left_out(test: Path) -> bool:
    """Return True if programs of a test file are compiled without LLVM optimisations."""
    where = test.relative_to(Path(__file__).parent).with_suffix("").as_posix()
    return MAY_LEAVE_OUT and any(where == name or where.startswith(f"{name}/") for name in LEFT_OUT)
