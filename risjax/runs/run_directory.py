"""The directory of a run: its files, and how they survive a crash.

======================= ===============================================================================
config.yaml             the resolved configuration, passwords masked
log.jsonl               a JSON object on each line, with its ``kind`` (command, step, epoch, dtypes, stage, ...)
metrics.json            metrics of the evaluation
estimates.npz           estimates of the evaluation, by scene
checkpoints/            states of the training
posterior.safetensors   the posterior heads
ablation/               a run directory for each variant and seed; ablation.json, ablation.csv next to it
search/                 the study, trials.json, best.yaml
tune/                   estimates of the stage tune, best.yaml; tune.json next to it
figures/, report.html   the report
state.json              finished stages
======================= ===============================================================================

Files are written under a temporary name and renamed, so that a crash leaves the old or the new file, never a part of
one; a torn last line of the log is cut off when the directory is opened. One process at a time locks a directory
(`RunDirectory.lock`); the kernel releases the lock when the process ends for any reason. Nothing is pickled.
"""

import datetime
import json
import math
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from risjax.runs.faults import named_in_errors

try:
    import fcntl
except ImportError:  # Windows has no fcntl; there a directory is not locked
    fcntl = None

LOCK_NAME = ".lock"
"""The locked file of a directory in use."""


class RunDirectoryError(Exception):
    """A run directory that cannot be used; the message contains the reason and what to do. Nothing was changed."""


class RunDirectoryBusy(RunDirectoryError):
    """Another process uses the directory."""


class RunDirectory:
    """Names, writes and reads the files of one run.

    The constructor makes the directory and its sub-directories if they are missing.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path).expanduser()
        for folder in (self.path, self.checkpoints, self.search, self.figures):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock_file: Any = None

    @property
    def config_path(self) -> Path:
        return self.path / "config.yaml"

    @property
    def log_path(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.json"

    @property
    def estimates_path(self) -> Path:
        return self.path / "estimates.npz"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def posterior_path(self) -> Path:
        return self.path / "posterior.safetensors"

    @property
    def search(self) -> Path:
        return self.path / "search"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    def append_log(self, record: dict[str, Any]) -> None:
        """Append one line to the log. NaN and infinities become null, since JSON has neither."""
        line = json.dumps(jsonable(record), allow_nan=False)
        with named_in_errors(self.log_path), self.log_path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def read_log(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the log's records in order, of one kind or of all; a torn last line is skipped.

        Raises:
            RunDirectoryError: a line is not a JSON object.
        """
        if not self.log_path.exists():
            return
        with self.log_path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith("\n"):
                    return
                record = _log_record(line)
                if record is None:
                    raise RunDirectoryError(
                        f"{self.log_path}: line {number} is not a JSON object; delete this line and run the same "
                        "command again"
                    )
                if kind is None or record.get("kind") == kind:
                    yield record

    def truncate_log(self, drop: Callable[[dict[str, Any]], bool]) -> None:
        """Remove the records for which ``drop`` is true, those that a resumed run writes again."""
        records = list(self.read_log())
        kept = [record for record in records if not drop(record)]
        if len(kept) < len(records):
            write_atomically(self.log_path, "".join(json.dumps(record) + "\n" for record in kept))

    def write_json(self, name: str, value: Any) -> None:
        """Write ``value`` as the JSON file ``name``, a path within the directory, atomically."""
        write_atomically(self.path / name, json.dumps(jsonable(value), indent=2, allow_nan=False) + "\n")

    def read_json(self, name: str, default: Any = None) -> Any:
        """Return the content of the JSON file ``name``, or ``default`` if there is no such file.

        Raises:
            RunDirectoryError: the file is damaged, or holds another type than ``default``.
        """
        path = self.path / name
        if not path.exists():
            return default
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
            raise _damaged(path, f"is not valid JSON ({error})") from None
        if default is not None and not isinstance(value, type(default)):
            raise _damaged(path, f"holds a {type(value).__name__}, expected a {type(default).__name__}")
        return value

    def mark_done(self, stage: str) -> None:
        """Record that a stage is finished, so that the same command will not repeat it."""
        done = self._stages_done()
        done[stage] = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self.write_json("state.json", {"done": done})

    def is_done(self, stage: str) -> bool:
        """Return whether `mark_done` was called for ``stage``."""
        return stage in self._stages_done()

    def mark_undone(self, stage: str) -> None:
        """Remove the mark of ``stage``, whose input has changed; do nothing if there is none."""
        done = self._stages_done()
        if done.pop(stage, None) is not None:
            self.write_json("state.json", {"done": done})

    def _stages_done(self) -> dict[str, str]:
        done = self.read_json("state.json", {"done": {}}).get("done")
        if not isinstance(done, dict):
            raise _damaged(self.path / "state.json", f"holds {done!r} under 'done', expected the finished stages")
        return done

    def lock(self) -> None:
        """Lock the directory for this process, until `unlock` or its end.

        Raises:
            RunDirectoryBusy: another process holds the lock.
            OSError: the file system is read-only or has no locks.
        """
        if fcntl is None or self._lock_file is not None:
            return
        file = (self.path / LOCK_NAME).open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise RunDirectoryBusy(
                f"{self.path} is in use by {holder}; wait for it, stop it, or give this run its own run.directory"
            ) from None
        except OSError as error:
            file.close()
            error.filename = str(self.path / LOCK_NAME)
            raise
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        self._lock_file = file

    def unlock(self) -> None:
        """Unlock the directory; do nothing if `lock` was not called."""
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def remove_incomplete_line(self) -> None:
        """Cut off the last line of the log if a killed process has not finished it."""
        if not self.log_path.exists():
            return
        with self.log_path.open("r+b") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                file.truncate(whole)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file atomically: under a temporary name, synchronised to the disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    data = content.encode() if isinstance(content, str) else content
    with named_in_errors(path):
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise


def _log_record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _damaged(path: Path, fault: str) -> RunDirectoryError:
    return RunDirectoryError(f"{path} {fault}; delete this file and run the same command again, which writes it again")


def jsonable(value: Any) -> Any:
    """Return plain JSON values: arrays and their scalars become lists and numbers, NaN and infinities null."""
    if isinstance(value, dict):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"got a {type(value).__name__}, expected a JSON value or an array: {value!r}")
