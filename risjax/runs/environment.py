"""Versions and hardware, from package metadata, so that neither a report nor a command's start imports jax."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

try:
    import resource
except ImportError:  # Windows has none
    resource = None

_PACKAGES = ("risjax", "jax", "jaxlib", "flax", "optax", "chex", "jmp", "optuna", "numpy", "scipy")


def installed_environment() -> dict[str, str]:
    """Return the versions of the installed packages, the platform and the processor."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    found["platform"] = platform.platform(terse=True)
    found["processor"] = _processor()
    return found


def peak_memory_bytes() -> int | None:
    """Return the peak memory of this process; None on Windows, which does not report it."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _processor() -> str:
    count = f"{os.cpu_count() or '?'} logical cores"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return f"{line.split(':', 1)[1].strip()}, {count}"
    except OSError:
        pass
    return f"{platform.machine()}, {count}"
