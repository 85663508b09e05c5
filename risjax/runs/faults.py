"""Faults of the file system in one sentence: the path, the fault, and what to do before the command is given again."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_LOCKS = (
    "this file system has no file locks (flock); name a run.directory on a local disk, or mount it with locks enabled"
)
_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file is larger than this system allows; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; make it writable, or name another run.directory",
    errno.EACCES: "permission denied; make it accessible, or name another run.directory",
    errno.EPERM: "the operation is not permitted; make it accessible, or name another run.directory",
    errno.ENAMETOOLONG: "the name is too long; name a shorter run.directory",
    errno.ENOTDIR: "a part of this path is a file, expected directories; name another run.directory",
    errno.EISDIR: "is a directory, expected a file; move it away",
    errno.EEXIST: "is a file, or a link whose target is missing, expected a directory; move it away",
    errno.ELOOP: "the symbolic links of this path form a loop; name another run.directory",
    errno.ENOLCK: _NO_LOCKS,
    errno.ENOSYS: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
    errno.EIO: "the disk reports an input/output error; check it, or name another run.directory",
    errno.ESTALE: "the network file system has lost this file; mount it again",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine; close some programs",
}


def file_fault(error: OSError, default: str | os.PathLike[str]) -> str | None:
    """Return the sentence for an error of the file system.

    Args:
        error: as it was raised.
        default: the path to name if the error names none, as is the case for a failed write.

    Returns:
        None for any other error, such as one of a network connection or a missing file.
    """
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None and error.errno == errno.ENOENT and _is_dangling(error.filename):
        remedy = "is a symbolic link whose target is missing; restore the target, or remove the link"
    if remedy is None:
        return None
    path = default if error.filename is None else error.filename
    return f"{os.fsdecode(path)}: {remedy}, then run the same command again"


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """A block that reads or writes ``path``: its `OSError` names the file, which a failed write does not by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _is_dangling(name: object) -> bool:
    return isinstance(name, str | os.PathLike) and Path(name).is_symlink() and not Path(name).exists()
