"""JAX's persistent compilation cache: compiled programs of earlier processes are read instead of compiled again.

The cache is a folder in the user's cache directory with a subfolder for each combination of jax, jaxlib and processor,
so that a program is never read on a processor that lacks its instructions. JAX's key of an entry adds the backend, its
devices, the compiler's flags and options, and the program itself.

Order of precedence: JAX's own setting (``JAX_COMPILATION_CACHE_DIR``), ``run.compile_cache``, the environment variable
``RISJAX_CACHE_DIR`` (a folder, or ``off``), the user's cache directory.

JAX runs what it reads from the cache. The folder must not be writable by people who are not trusted.
"""

import hashlib
import os
import platform
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from risjax.runs.cache_entries import prune, remove_damaged

ENVIRONMENT_VARIABLE = "RISJAX_CACHE_DIR"
JAX_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
AUTO, OFF = "auto", "off"

MAX_BYTES = 2**30
"""Size of the cache, over all versions and processors; the entries that were not used for the longest time go first."""

_WRITES_BETWEEN_PRUNINGS = 64

_CPUINFO_NAMES = {
    "vendor_id", "cpu family", "model", "flags",  # x86
    "CPU implementer", "CPU architecture", "CPU part", "Features",  # Arm
    "isa", "uarch", "cpu", "machine",  # RISC-V, POWER
}  # fmt: skip

_enabled: Path | None = None
_writes = 0


def cache_root(setting: str = AUTO, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of the cache without creating it, or None where the cache is off.

    Args:
        setting: ``auto``, ``off`` or a folder (``run.compile_cache``).
        environment: the environment's variables.
    """
    chosen = environment.get(ENVIRONMENT_VARIABLE, AUTO) if setting == AUTO else setting
    if chosen in ("", OFF):
        return None
    return Path(chosen).expanduser().absolute() if chosen != AUTO else _user_cache(environment) / "risjax"


def cache_text(setting: str = AUTO, environment: Mapping[str, str] = os.environ) -> str:
    """Return one line on where compiled programs are kept, for ``--print-config``."""
    if environment.get(JAX_VARIABLE):
        return f"compiled programs: {environment[JAX_VARIABLE]} ({JAX_VARIABLE})"
    root = cache_root(setting, environment)
    return f"compiled programs: {'not kept' if root is None else root}"


def programs_folder(root: Path) -> Path:
    """Return the folder for this version of jax and jaxlib and this kind of processor."""
    import importlib.metadata  # 20 ms, which --print-config does not need

    versions = "-".join(f"{name}-{importlib.metadata.version(name)}" for name in ("jax", "jaxlib"))
    features = hashlib.sha256(processor_features().encode()).hexdigest()[:12]
    return root / "programs" / f"{versions}-{platform.machine().lower()}-{features}"


def processor_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return a text that differs between kinds of processors: vendor, family, model and instruction sets."""
    if cpuinfo.is_file():
        fields = (line.partition(":") for line in cpuinfo.read_text(errors="replace").splitlines())
        return "\n".join(
            sorted({f"{name.strip()}:{text}" for name, _, text in fields if name.strip() in _CPUINFO_NAMES})
        )
    if sys.platform == "darwin":
        import subprocess

        command = ["sysctl", "machdep.cpu.brand_string", "machdep.cpu.features", "machdep.cpu.leaf7_features"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return os.environ.get("PROCESSOR_IDENTIFIER", platform.processor())


def enable(setting: str = AUTO) -> str | None:
    """Let JAX read and write compiled programs from now on.

    May be called at any time, also after JAX compiled other programs. The first call of a process that enables the
    cache decides on the folder. Where the user has configured JAX's cache, nothing is changed.

    Args:
        setting: ``auto``, ``off`` or a folder.

    Returns:
        None, or a sentence on why programs are not kept.
    """
    global _enabled
    import jax

    chosen_by_user = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    allowed = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    if _enabled is not None or chosen_by_user or not allowed:
        return None
    try:
        root = cache_root(setting)
        if root is None:
            return None
        folder = _prepared(root)
    except (OSError, RuntimeError) as error:  # Path.home raises RuntimeError for a user without a home directory
        return (
            f"compiled programs are not kept for the next process: {error}; set {ENVIRONMENT_VARIABLE} to a folder "
            f"that can be written, or to {OFF}"
        )
    _use(folder, root)
    _enabled = folder
    return None


def enable_with_warning() -> None:
    """`enable` with its defaults, for callers without a terminal: a problem becomes a Python warning."""
    problem = enable()
    if problem is not None:
        warnings.warn(problem, RuntimeWarning, stacklevel=4)


def _prepared(root: Path) -> Path:
    """Create the folder of this version and processor, remove damaged entries, and bound the cache's size."""
    folder = programs_folder(root)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_damaged(folder)
    prune(root / "programs", MAX_BYTES)
    return folder


def _use(folder: Path, root: Path) -> None:
    """Configure JAX, except for settings that the user has made."""
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        # Reading the smallest program takes 2 ms, compiling it 30 ms.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # An entry that is damaged or half-written by another process is compiled again; a full disk keeps no further ones.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")

    def on_event(event: str, **_: object) -> None:
        global _writes
        if event == "/jax/compilation_cache/cache_misses":
            _writes += 1
            if _writes % _WRITES_BETWEEN_PRUNINGS == 0:
                prune(root / "programs", MAX_BYTES)

    jax.monitoring.register_event_listener(on_event)


def _user_cache(environment: Mapping[str, str]) -> Path:
    """Return the platform's folder for files that programs can make again."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    configured = environment.get("XDG_CACHE_HOME", "")
    return Path(configured) if os.path.isabs(configured) else Path.home() / ".cache"  # relative ones are invalid
