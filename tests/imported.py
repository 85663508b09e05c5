"""Packages that a command imports, for tests of what answers at once."""

import subprocess
import sys

HEAVY = ("jax", "matplotlib", "numpy", "optuna", "scipy")
"""Packages that take 0.1 to 1 s each."""

_PROGRAM = """
import sys
from risjax.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print("imported", code, *{name.partition(".")[0] for name in sys.modules})
"""


def run_and_list_imports(arguments: list[str]) -> tuple[str, set[str], str]:
    """Run risjax with arguments in a new process; return its exit code, the packages imported and its output."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, timeout=60)
    *printed, last = done.stdout.splitlines()
    word, code, *imported = last.split()
    assert word == "imported", done.stderr
    return code, set(imported), "\n".join(printed)
