"""Files of the compilation cache: removal of damaged entries, and of the oldest ones where the cache is too large.

JAX (0.10 to 0.12) writes an entry in place and never writes it again. An entry that was being written when its process
was killed or the disk was full would be read, refused and compiled in every later process. So the entries that were
written since the last check are decompressed once, and the damaged ones are removed.

JAX's own limit, ``jax_compilation_cache_max_size``, is not used: it needs the package ``filelock``, takes a lock for
every reading, and in jax 0.10.2 stops every later writing where a process was killed between an entry's two files.
"""

import importlib
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

_SUFFIX = "-cache"
_CHECKED = "checked"
_SETTLED_S = 10.0
"""Age from which an entry is checked; another process may still be writing a younger one."""
_PRUNED_TO = 0.8
"""Share of the limit that is left after pruning, so that not every process prunes."""
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def remove_damaged(folder: Path) -> None:
    """Remove entries that were written since the last check and cannot be decompressed.

    Raises:
        OSError: the folder cannot be read or written.
    """
    checked = folder / _CHECKED
    since = checked.stat().st_mtime if checked.exists() else 0.0
    until = time.time() - _SETTLED_S
    for path, status in _entries(folder):
        if since <= status.st_mtime < until and not _is_whole(path):
            path.unlink(missing_ok=True)
    checked.touch()
    os.utime(checked, (until, until))


def prune(root: Path, max_bytes: int) -> None:
    """Remove the files that were not used for the longest time until at most 80 % of ``max_bytes`` are left.

    Does nothing below ``max_bytes``. Any number of processes may prune, read and write at once: an entry that is
    missing is compiled again.
    """
    entries = list(_entries(root))
    total = sum(status.st_size for _, status in entries)
    if total <= max_bytes:
        return
    for path, status in sorted(entries, key=lambda entry: max(entry[1].st_atime, entry[1].st_mtime)):
        if total <= _PRUNED_TO * max_bytes:
            return
        path.unlink(missing_ok=True)
        total -= status.st_size


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the entries in a folder and its subfolders; other processes may remove some meanwhile."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(_SUFFIX):
                path = Path(parent, name)
                try:
                    yield path, path.stat()
                except FileNotFoundError:
                    continue


def _is_whole(path: Path) -> bool:
    """Return whether an entry can be decompressed. One that another process has removed counts as whole."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return True
    decompress, errors = _zstd() if content.startswith(_ZSTD_MAGIC) else (zlib.decompress, (zlib.error,))
    try:
        decompress(content)
    except errors:
        return False
    return True


def _zstd() -> tuple[Callable[[bytes], bytes], tuple[type[Exception], ...]]:
    """Return the decompression that JAX uses where it is installed, and its errors; without it, an entry is refused."""
    for name in ("compression.zstd", "zstandard"):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        return module.decompress, (module.ZstdError,)
    return zlib.decompress, (zlib.error,)
