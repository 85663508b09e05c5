"""Checkpoints: orbax writes them; this module decides which are kept and verifies them.

orbax writes to a temporary name and renames, so a killed process leaves the old checkpoint intact. It does not detect
two faults (tried with 0.12.8): bytes flipped on disk load without an error, therefore a SHA-256 of the leaves is stored
with them; an empty directory counts as a checkpoint, therefore the last sound one is searched.

A checkpoint holds one copy of the state, whatever the number of devices, so that training can resume on another number.
Of several processes only the leader writes and reads.
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import v1 as orbax

from risjax._compat.orbax import without_other_processes
from risjax.runs.multihost import several
from risjax.train.state import TrainState

_OWN_NAME = re.compile(r"epoch_(\d{5,})")
_OWN_PARTIAL_NAME = re.compile(_OWN_NAME.pattern + r"\.orbax-checkpoint-tmp.*")
"""A checkpoint that a killed process has not finished writing."""

_OVERHEAD_BYTES = 1 << 20
"""More than a checkpoint's metadata and manifests take, measured at 35 kB for 90 arrays."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read or differs from what was written."""


class Checkpoint(NamedTuple):
    """One checkpoint.

    Attributes:
        state: the training state after ``epoch`` epochs.
        metadata: ``epoch``, ``best_epoch``, ``best`` and ``record``, the epoch's line of the log.
    """

    state: TrainState
    metadata: dict[str, Any]


def _alone() -> contextlib.AbstractContextManager[None]:
    """A block in which orbax waits for no other process; by itself it expects all of them to save and load together."""
    return without_other_processes(jax.process_index()) if several() else contextlib.nullcontext()


def _check_space(directory: Path, state: TrainState) -> None:
    """Refuse a disk that is too full before anything is written: orbax would print tracebacks of its threads."""
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + _OVERHEAD_BYTES
    usage = shutil.disk_usage(directory)
    if usage.total and usage.free < needed:  # (some network file systems report no sizes at all)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))


@contextlib.contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    """Raise faults of the file system as `OSError`; TensorStore raises ValueError with the number in its text."""
    try:
        yield
    except ValueError as error:
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error


def _target(leaf: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct | np.ndarray:
    """Return what orbax loads an array as: on the device of ``leaf`` or the default one, on the host with several
    processes."""
    if several():
        return np.empty(leaf.shape, leaf.dtype)
    sharding = leaf.sharding or SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def digest(tree: Any) -> str:
    """SHA-256 of a tree of arrays: names, dtypes, shapes and numbers."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        array = np.asarray(jax.device_get(leaf))
        sha.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


class Checkpoints:
    """The checkpoints of one training: the last one, to resume from, and the best one, to use."""

    def __init__(self, directory: Path):
        self.directory = directory.resolve()

    def epochs(self) -> list[int]:
        """Return the epochs that have a directory, oldest first; they need not be sound."""
        if not self.directory.is_dir():
            return []
        names = [_OWN_NAME.fullmatch(path.name) for path in self.directory.iterdir() if path.is_dir()]
        return sorted(int(name[1]) for name in names if name)

    def path(self, epoch: int) -> Path:
        """Return the directory of the checkpoint after ``epoch`` epochs."""
        return self.directory / f"epoch_{epoch:05d}"

    def save(self, state: TrainState, metadata: dict[str, Any], *, best_epoch: int) -> None:
        """Save the state after ``metadata["epoch"]`` epochs; then delete all other checkpoints but the best.

        Files and folders under any other name than a checkpoint's are left alone.

        Raises:
            OSError: the disk is full, or another fault of the file system; earlier checkpoints are kept.
        """
        epoch = metadata["epoch"]
        self.directory.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.path(epoch), ignore_errors=True)
        state = jax.device_get(state)  # (orbax takes no array of one device from one of several processes)
        _check_space(self.directory, state)
        with _alone(), _system_errors(self.path(epoch)):
            orbax.save(str(self.path(epoch)), state, custom_metadata={**metadata, "sha256": digest(state)})
        self.delete(keep=(epoch, best_epoch))

    def delete(self, *, keep: Collection[int] = ()) -> None:
        """Delete the checkpoints of all epochs but those to ``keep``, and unfinished ones."""
        partial = [path for path in self.directory.glob("*") if _OWN_PARTIAL_NAME.fullmatch(path.name)]
        for path in (*(self.path(epoch) for epoch in self.epochs() if epoch not in keep), *partial):
            # On NFS a file that another process still reads stays as .nfs...; the next save deletes the rest.
            shutil.rmtree(path, ignore_errors=True)

    def load(self, epoch: int, like: TrainState) -> Checkpoint:
        """Load one checkpoint.

        Args:
            epoch: its epoch.
            like: a state of the same configuration on one device, or its shapes and dtypes.

        Raises:
            CheckpointError: it is missing, unreadable, of another shape, or its values differ from those written.
        """
        path = self.path(epoch)
        try:
            with _alone():
                metadata = orbax.metadata(str(path)).custom_metadata
                state = orbax.load(str(path), jax.tree.map(_target, like))
        except Exception as error:  # (orbax raises bare Exception for damaged data)
            raise CheckpointError(f"checkpoint {path} cannot be read: {type(error).__name__}: {error}") from error
        if not isinstance(metadata, dict) or metadata.get("sha256") != digest(state):
            raise CheckpointError(f"checkpoint {path} differs from what was written: its SHA-256 does not match")
        return Checkpoint(state, {key: value for key, value in metadata.items() if key != "sha256"})

    def load_last(self, like: TrainState) -> Checkpoint | None:
        """Return the last intact checkpoint, or None if there are no checkpoints.

        Raises:
            CheckpointError: there are checkpoints, but none is sound; training would start again without notice.
        """
        failures = []
        for epoch in reversed(self.epochs()):
            try:
                return self.load(epoch, like)
            except CheckpointError as error:
                failures.append(str(error))
        if failures:
            raise CheckpointError(
                "no intact checkpoint is left; restore a copy of one, or train again with run.fresh=true\n"
                + "\n".join(failures)
            )
        return None
