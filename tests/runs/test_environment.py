"""The settings that stand before every import of jax, and what happens without them."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("OPENBLAS_NUM_THREADS", "PJRT_NPROC")

# Eight independent batched solves in one program. Without PJRT_NPROC, jaxlib 0.10.0-0.10.2 hangs in it at 0 % CPU on
# two cores, mostly within 150 rounds; 0.12 does not. A round takes about 50 ms.
MANY_SOLVES = """
import sys
if sys.argv[1] == "with":
    import risjax
import jax, jax.numpy as jnp, numpy as np
rng = np.random.default_rng(0)
a = rng.normal(size=(8, 64, 144, 144)).astype("float32") / 12 + 4 * np.eye(144, dtype="float32")
@jax.jit
def program(a):
    return sum(jax.scipy.linalg.solve_triangular(a[i], a[i, :, :, :8], lower=True).sum() for i in range(8))
a = jnp.asarray(a)
for _ in range(int(sys.argv[2])):
    program(a).block_until_ready()
print("done")
"""


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in (*NAMES, "NPROC", "RISJAX_NO_ENV")}


def run(*arguments: str, timeout: float, **changes: str) -> str:
    completed = subprocess.run(
        [sys.executable, *arguments],
        env=clean_environment() | changes,
        cwd=ROOT,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=True,
    )
    return completed.stdout


def test_two_batched_lapack_calls_in_one_program_do_not_deadlock():
    assert run("-c", MANY_SOLVES, "with", "60", timeout=90).strip() == "done"


@pytest.mark.slow
def test_without_the_settings_this_jaxlib_hangs():
    """Says when the first setting can go: it fails on the jaxlib, or the machine, that does not hang without it."""
    from jaxlib.version import __version_info__

    if __version_info__ >= (0, 11) or (os.cpu_count() or 1) > 2:
        pytest.skip("the deadlock was seen in jaxlib 0.10 on two cores")
    with pytest.raises(subprocess.TimeoutExpired):
        run("-c", MANY_SOLVES, "without", "3000", timeout=300)


@pytest.mark.parametrize(
    "code",
    [
        "import risjax",
        "import runpy; runpy.run_path('run.py')",
        "import sys; sys.path.insert(0, 'tests'); import conftest",
    ],
    ids=["risjax", "run.py", "tests/conftest.py"],
)
def test_the_settings_come_before_jax(code):
    spy = (
        "import os, sys, importlib.abc\n"
        "class Spy(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('jax', 'jaxlib', 'scipy'):\n"
        f"            assert all(n in os.environ for n in {NAMES}), name + ' comes before them'\n"
        "sys.meta_path.insert(0, Spy())\n"
        f"{code}\n"
        f"print(*(os.environ[n] for n in {NAMES}))\n"
    )
    threads, processes = run("-c", spy, timeout=60).split()
    assert threads == "1"
    assert int(processes) >= 9


def test_a_user_s_own_setting_is_left_alone():
    code = f"import os, risjax; print(*(os.environ[n] for n in {NAMES}))"
    assert run("-c", code, timeout=60, OPENBLAS_NUM_THREADS="3", PJRT_NPROC="20").split() == ["3", "20"]


def warnings_of(code: str, **changes: str) -> list[str]:
    """Messages of the warnings that a program issues, from a program that runs it and prints them."""
    recorder = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as found:\n"
        "    warnings.simplefilter('always')\n"
        f"    exec({code!r})\n"
        "for each in found:\n"
        "    if 'risjax' in str(each.message): print(each.message, each.filename)\n"
    )
    return run("-c", recorder, timeout=120, **changes).splitlines()


def test_an_import_after_jax_has_started_warns_once_with_the_correction():
    (message,) = warnings_of("import jax; jax.devices(); import risjax, risjax.linalg")
    assert message.startswith("jax started its backend before risjax was imported, without PJRT_NPROC")
    assert "Import risjax first, or set PJRT_NPROC=" in message
    assert message.endswith("<string>"), "the warning names the importing line"


def test_an_import_after_the_linear_algebra_of_scipy_warns():
    (message,) = warnings_of("import scipy.linalg, risjax")
    assert message.startswith("scipy.linalg was loaded before risjax was imported, without OPENBLAS_NUM_THREADS")
    assert "OPENBLAS_NUM_THREADS=1 before Python starts" in message


def test_no_warning_where_the_settings_are_in_time_or_not_wanted():
    late = "import jax, scipy.linalg; jax.devices(); import risjax"
    assert not warnings_of("import jax, jax.numpy, risjax")
    assert not warnings_of(late, OPENBLAS_NUM_THREADS="1", PJRT_NPROC="9")
    assert not warnings_of(late, RISJAX_NO_ENV="1")


def test_importing_jax_alone_reads_neither_setting():
    """The count of XLA's threads follows PJRT_NPROC, and scipy, whose OpenBLAS reads the other one, is not loaded."""
    code = (
        "import sys, jax; assert 'scipy.linalg' not in sys.modules; "
        "import risjax, os; os.environ['PJRT_NPROC'] = '19'; "
        "jax.devices(); tasks = os.listdir('/proc/self/task'); "
        "print(sum('XLAEigen' in open(f'/proc/self/task/{t}/comm').read() for t in tasks))"
    )
    if not Path("/proc/self/task").exists():
        pytest.skip("counting threads by name needs /proc")
    assert int(run("-c", code, timeout=60, JAX_PLATFORMS="cpu")) == 19


def test_risjax_no_env_leaves_the_environment_unchanged():
    code = f"import os, risjax; print(*(n in os.environ for n in {NAMES}))"
    assert run("-c", code, timeout=60, RISJAX_NO_ENV="1").split() == ["False", "False"]


def test_the_import_takes_less_than_a_fifth_of_a_second_and_loads_no_jax():
    code = (
        "import sys, time; start = time.process_time(); import risjax; print(time.process_time() - start); "
        "assert not {'jax', 'numpy', 'scipy'} & set(sys.modules)"
    )
    assert min(float(run("-c", code, timeout=60)) for _ in range(3)) <= 0.2


# Touching 64 MiB anew costs 16,384 page faults where the last 64 MiB were given back, and none where they were kept. In
# huge pages, which NumPy asks for and the system grants when it has some, the same costs 32.
FAULTS = """
import sys
if sys.argv[1] != "without":
    import risjax
if sys.argv[1] == "command line":
    from risjax.cli import main
    assert main(["--config", "quick.yaml", "--print-config"]) == 0
import resource
import numpy as np
def touch():
    return float(np.full(2**24, 1.0, np.float32)[-1])
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone is set up")
def test_the_command_line_keeps_freed_memory_and_an_import_does_not():
    def faults(case: str, **changes: str) -> int:
        return int(run("-c", FAULTS, case, timeout=60, NUMPY_MADVISE_HUGEPAGE="0", **changes).splitlines()[-1])

    assert faults("command line") < 100
    assert faults("import") > 1000
    assert faults("without") > 1000
    assert faults("command line", RISJAX_NO_ENV="1") > 1000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone is set up")
def test_a_malloc_set_up_by_the_environment_is_left_alone():
    script = "from risjax.runs.allocator import keep_freed_memory; print(keep_freed_memory())"
    assert run("-c", script, timeout=60).strip() == "True"
    assert run("-c", script, timeout=60, MALLOC_ARENA_MAX="2").strip() == "False"
