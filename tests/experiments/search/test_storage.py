"""The journal survives a kill in the middle of a line and a kill of its lock's holder."""

import json
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from risjax._compat.optuna import close_storage
from risjax.experiments.search.storage import JournalLock, StorageError, open_storage, remove_incomplete_line
from risjax.experiments.search.study import search
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from tests.experiments.search.fake import FakeTrain, make_config


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"whole\n", b"whole\n"),
        (b"whole\ntorn", b"whole\n"),
        (b"torn from the start", b""),
        (b"whole\n" + b"x" * 10_000, b"whole\n"),
        (b"y" * 5000 + b"\n" + b"x" * 4096, b"y" * 5000 + b"\n"),
    ],
)
def test_an_incomplete_line_is_removed(tmp_path, before, after):
    journal = tmp_path / "study.journal"
    journal.write_bytes(before)
    assert remove_incomplete_line(journal) == len(before) - len(after)
    assert journal.read_bytes() == after


def test_a_study_with_an_incomplete_last_line_resumes(tmp_path):
    config, directory = make_config(trials=4), RunDirectory(tmp_path / "a")
    whole = search(config, RunDirectory(tmp_path / "b"), Terminal(quiet=True), train=FakeTrain())
    search(config.model_copy(update={"search": config.search.model_copy(update={"trials": 2})}), directory,
           Terminal(quiet=True), train=FakeTrain())  # fmt: skip
    journal = directory.search / "study.journal"
    with journal.open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"dead","trial_id":1,"st')
    outcome = search(config, directory, Terminal(quiet=True), train=FakeTrain())
    assert [record.value for record in outcome.trials] == [record.value for record in whole.trials]
    assert all(json.loads(line) for line in journal.read_text().splitlines())


@pytest.mark.parametrize("line", ["", "{torn", "[]"])
def test_a_damaged_line_of_the_journal_is_named_with_the_remedy(tmp_path, line):
    config, directory = make_config(trials=2), RunDirectory(tmp_path)
    search(config, directory, Terminal(quiet=True), train=FakeTrain())
    journal = directory.search / "study.journal"
    first, *rest = journal.read_text().splitlines()
    journal.write_text("\n".join([first, line, *rest]) + "\n")
    with pytest.raises(StorageError, match=r"study\.journal: line 2 is .*delete this line and run the same command"):
        search(config, directory, Terminal(quiet=True), train=FakeTrain())


_HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from risjax.experiments.search.storage import JournalLock
JournalLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_the_lock_is_released_when_its_holder_is_killed(tmp_path):
    journal = tmp_path / "study.journal"
    holder = subprocess.Popen([sys.executable, "-c", _HOLD_THE_LOCK, str(journal)], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
    started = time.monotonic()
    lock = JournalLock(journal)
    lock.acquire()
    lock.release()
    assert time.monotonic() - started < 5, "Optuna's own lock would wait for 30 s"


def test_a_lock_that_is_not_held_cannot_be_released(tmp_path):
    with pytest.raises(RuntimeError, match="not held"):
        JournalLock(tmp_path / "study.journal").release()


def test_sqlite_keeps_a_write_ahead_log(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db", tmp_path)
    assert isinstance(storage, optuna.storages.RDBStorage | optuna.storages._CachedStorage)
    optuna.create_study(storage=storage)
    assert (tmp_path / "study.db-wal").exists()
    close_storage(storage)


@pytest.mark.parametrize(
    "url",
    ["postgresql://ada:s3cret@localhost:1/none", "nosuchdialect://ada:s3cret@host/db", "mysql://u@h/d?password=s3cret"],
)
def test_a_storage_that_cannot_be_opened_is_reported_without_the_password(tmp_path, url):
    with pytest.raises(StorageError) as caught:
        open_storage(url, tmp_path)
    assert "cannot be opened" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_lost_race_for_an_empty_database_is_not_a_failure(tmp_path, monkeypatch):
    """Every table may be lost to another worker once, which on a slow server takes longer than all tries."""
    races, failures = iter(range(10)), iter(range(2))

    def connect(url):
        for table in races:
            raise OperationalError("CREATE TABLE", None, Exception(f"Table '{table}' already exists"))
        for _ in failures:
            raise OperationalError("SELECT", None, Exception("gone away"))
        return optuna.storages.InMemoryStorage()

    monkeypatch.setattr("risjax.experiments.search.storage._connect", connect)
    monkeypatch.setattr("risjax.experiments.search.storage._PAUSES_S", (0.01, 0.01))
    open_storage("mysql+pymysql://host/db", tmp_path)


@pytest.mark.parametrize("failures", [2, 9])
def test_the_cause_of_optunas_error_decides(tmp_path, monkeypatch, failures):
    """A connection that is lost within one of its transactions comes as an error without a reason."""
    left = iter(range(failures))

    def connect(url):
        for _ in left:
            lost = OperationalError("SELECT", None, Exception("Server has gone away"))
            raise optuna.exceptions.StorageInternalError("An exception is raised during the commit.") from lost
        return optuna.storages.InMemoryStorage()

    monkeypatch.setattr("risjax.experiments.search.storage._connect", connect)
    monkeypatch.setattr("risjax.experiments.search.storage._PAUSES_S", (0.01, 0.01))
    with nullcontext() if failures == 2 else pytest.raises(StorageError, match="gone away"):
        open_storage("mysql+pymysql://host/db", tmp_path)


def test_too_many_lost_races_are_an_error(tmp_path, monkeypatch):
    def connect(url):
        raise OperationalError("CREATE TABLE", None, Exception("Table 'studies' already exists"))

    monkeypatch.setattr("risjax.experiments.search.storage._connect", connect)
    monkeypatch.setattr("risjax.experiments.search.storage._PAUSES_S", (0.01, 0.01))
    with pytest.raises(StorageError, match="already exists"):
        open_storage("mysql+pymysql://host/db", tmp_path)
