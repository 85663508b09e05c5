"""Storage of a study: a journal file inside the run, or any Optuna storage URL.

The journal has Optuna's format, an operation on each line. Two of its properties do not survive ``kill -9``: its lock
is a file that a dead holder leaves behind (the next process waits 30 s), and a torn last line makes the study
unreadable once another line is appended to it. `JournalLock` solves both: the kernel releases ``flock`` with its
holder, and the next holder first cuts the file back to its last newline. ``benchmarks/search_storage.py`` compares the
storages.
"""

import json
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from risjax.config.secrets import mask

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


JOURNAL_NAME = "study.journal"
_PAUSES_S = (0.2, 0.5, 1.0)
"""Between tries to connect."""
_MAX_LOST_RACES = 20
"""Workers that start together race to create an empty database's 13 tables and the rows of two. A lost race is not a
failure: it leaves fewer tables to create. (MySQL commits each table, PostgreSQL all of them at once.)"""


class StorageError(Exception):
    """The storage cannot be opened; passwords in the message are masked."""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file for a block; the kernel releases it with the process. Does nothing without ``fcntl``."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class JournalLock:
    """Exclusive lock on a journal; the kernel releases it with its holder. Taking it repairs the journal.

    Two uses of one object exclude each other too, since ``flock`` belongs to the open file and each `acquire` opens the
    file again. Threads and processes are treated alike.
    """

    def __init__(self, journal: Path):
        self._journal = journal
        self._lock = journal.with_suffix(".lock")
        self._held: ExitStack | None = None

    def acquire(self) -> bool:
        """Wait for the lock, then cut off a torn last line of the journal."""
        stack = ExitStack()
        stack.enter_context(exclusive(self._lock))
        self._held = stack
        remove_incomplete_line(self._journal)
        return True

    def release(self) -> None:
        """Release the lock."""
        held, self._held = self._held, None
        if held is None:
            raise RuntimeError("the journal's lock is not held")
        held.close()


def remove_incomplete_line(journal: Path) -> int:
    """Cut a file back to its last newline; return the number of bytes removed.

    Only for the holder of the journal's lock: the bytes after the last newline then come from a dead writer.
    """
    try:
        with journal.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            position = end
            while position:
                start = max(0, position - 4096)
                file.seek(start)
                newline = file.read(position - start).rfind(b"\n")
                if newline >= 0:
                    position = start + newline + 1
                    break
                position = start
            if position < end:
                file.truncate(position)
            return end - position
    except FileNotFoundError:
        return 0


def check_journal(journal: Path) -> None:
    """Check every line of a journal after cutting off a torn last one; do nothing if there is no journal.

    Raises:
        StorageError: a line is not a JSON object, so that Optuna would stop at it with a bare decoding error.
    """
    if not journal.exists():
        return
    with exclusive(journal.with_suffix(".lock")):
        remove_incomplete_line(journal)
        with journal.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not _is_json_object(line):
                    raise StorageError(
                        f"{journal}: line {number} is {line.strip()[:40]!r}, expected a JSON object (an operation of "
                        "Optuna); stop the workers of this search, delete this line and run the same command again"
                    )


def _is_json_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """Open the storage of ``search.storage``.

    Args:
        url: an Optuna (SQLAlchemy) URL, ``grpc://host:port`` of an Optuna gRPC proxy, or None for the
            journal ``folder/study.journal``.
        folder: the run's ``search/`` directory.

    Raises:
        StorageError: it cannot be opened; the message contains what to install, check or repair.
    """
    if url is None:
        folder.mkdir(parents=True, exist_ok=True)
        journal = folder / JOURNAL_NAME
        check_journal(journal)
        lock = JournalFileOpenLock(str(journal)) if fcntl is None else JournalLock(journal)
        return JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))  # type: ignore[arg-type]
    try:
        return _connect_with_retries(url)
    except Exception as error:  # noqa: BLE001  (drivers raise what they like, with the URL in it)
        reason = mask(str(_database_error(error))).splitlines()[0]
        raise StorageError(
            f"search.storage {mask(url)} cannot be opened: {reason}; check that the server is reachable, the password "
            "given and the driver installed (pip install -e '.[postgres]' for postgresql://, '.[mysql]' for "
            "mysql+pymysql://, '.[grpc]' for the gRPC proxy)"
        ) from None


def _connect_with_retries(url: str) -> BaseStorage:
    """Call `_connect`, again after an error of the database; other errors are a missing driver or scheme."""
    pauses_s, lost_races = iter(_PAUSES_S), 0
    while True:
        try:
            return _connect(url)
        except Exception as error:
            cause, pause_s = _database_error(error), None
            if _lost_race(cause) and lost_races < _MAX_LOST_RACES:
                lost_races, pause_s = lost_races + 1, _PAUSES_S[0]
            elif hasattr(cause, "connection_invalidated"):
                pause_s = next(pauses_s, None)
            if pause_s is None:
                raise
            time.sleep(pause_s)


def _database_error(error: BaseException) -> BaseException:
    """Return the database's own error, which Optuna wraps in one without server and reason."""
    wrapped = isinstance(error, optuna.exceptions.StorageInternalError)
    return (error.__cause__ or error) if wrapped else error


def _lost_race(error: BaseException) -> bool:
    """Return whether another worker has just created the same table or row."""
    return hasattr(error, "connection_invalidated") and (
        type(error).__name__ == "IntegrityError" or "already exists" in str(error)
    )


def _connect(url: str) -> BaseStorage:
    if url.startswith("grpc://"):
        host, _, port = url.removeprefix("grpc://").rstrip("/").partition(":")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
    if url.startswith("mariadb"):  # Optuna tests a connection before each use for "mysql" only
        url = "mysql" + url.removeprefix("mariadb")
    return _sqlite(url) if url.startswith("sqlite:") else optuna.storages.get_storage(url)


def _sqlite(url: str) -> RDBStorage:
    """Open SQLite with a write-ahead log: readers and the writer do not wait for each other, a kill damages nothing."""
    from sqlalchemy import event

    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
    event.listen(storage.engine, "connect", _write_ahead)
    with storage.engine.connect() as connection:
        _write_ahead(connection.connection.dbapi_connection, None)
    return storage


def _write_ahead(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
