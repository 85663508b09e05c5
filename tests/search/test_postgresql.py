"""Four workers with directories of their own, as on four machines, share a study in a real PostgreSQL server."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from risjax.config import Distribution
from risjax.config.io import apply_overrides, to_yaml
from risjax.run_directory import RunDirectory
from risjax.search import open_study
from risjax.search.slots import END
from risjax.search.storage import close_storage
from tests.search.fake import make_config
from tests.search.test_kills import ROOT, go, records, wait_until, worker
from tests.tiny import tiny_config

PASSWORD = "s3cret/of:ada@home"
QUOTED = quote(PASSWORD, safe="")
"""As it stands in a URL, whose parts are separated by some of its letters. The server does ask for it."""


def find(program: str) -> str | None:
    """A PostgreSQL program, on PATH or where Debian keeps it."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return shutil.which(program) or (str(places[-1]) if places else None)


@pytest.fixture
def server_url() -> Iterator[str]:
    """The URL of an empty database in a server of its own, gone after the test."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install -e '.[postgres]'")
    initdb, postgres = find("initdb"), find("postgres")
    if initdb is None or postgres is None:
        pytest.skip("needs a PostgreSQL server (initdb, postgres)")
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, socket.socket() as free:
        if user is not None:
            shutil.chown(folder, user)
        data, secret = Path(folder) / "data", Path(folder) / "secret"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o644)
        options = {"user": user, "cwd": "/", "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        setup = [initdb, "-D", data, "-U", "risjax", "--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8"]
        subprocess.run(setup, check=True, **options)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        server = subprocess.Popen(
            [postgres, "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-F"], **options
        )
        try:
            wait_until(lambda: accepts(port))
            yield f"postgresql://risjax:{QUOTED}@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def accepts(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(f"postgresql://risjax:{QUOTED}@127.0.0.1:{port}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def test_four_workers_two_of_them_killed(tmp_path, server_url):
    settings = {"trials": 24, "epochs": 2, "pruner": "none", "storage": server_url, "study": "shared"}
    folders = [tmp_path / f"host{index}" for index in range(4)]
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(folder, 0.15, **settings)) for folder in folders]
        go(*workers)
        wait_until(lambda: max(len(records(folder)) for folder in folders) >= 8)
        for victim in workers[:2]:
            victim.send_signal(signal.SIGKILL)
            time.sleep(0.2)
        assert [process.wait(120) for process in workers[2:]] == [0, 0]
    assert [row["state"] for row in records(folders[3])] == ["complete"] * 24
    study = open_study(make_config(**settings), RunDirectory(folders[3]))
    complete = [trial for trial in study.get_trials(deepcopy=False) if END not in trial.user_attrs]
    close_storage(study._storage)
    assert [trial.state.name for trial in complete] == ["COMPLETE"] * 24, "every configuration exactly once"
    assert_unwritten(tmp_path, server_url)


def assert_unwritten(folder: Path, url: str) -> None:
    """The password is in no file of a folder and in no row of the study's tables."""
    import psycopg

    for file in folder.rglob("*"):
        assert not file.is_file() or not leaks(file.read_bytes()), f"{file} holds the password"
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert len(tables) > 5
        for (table,) in tables:
            for row in connection.execute(f'SELECT t::text FROM "{table}" t').fetchall():
                assert not leaks(row[0].encode()), f"table {table} holds the password"


def leaks(content: bytes) -> bool:
    return PASSWORD.encode() in content or QUOTED.encode() in content


@pytest.mark.slow
def test_a_whole_run_against_a_database_never_writes_its_password(tmp_path, server_url):
    """``run.py``: search, training, evaluation and report; what it prints, too."""
    space = {"train.learning_rate": Distribution(log_uniform=(1.0e-4, 1.0e-2))}
    stages = ["search", "train", "evaluate", "report"]
    changes = {"stages": stages, "search.trials": 4, "search.epochs": 1, "train.epochs": 1, "search.metric": "nmse"}
    config = apply_overrides(tiny_config(), changes)
    config = config.model_copy(update={"search": config.search.model_copy(update={"space": space})})
    (tmp_path / "tiny.yaml").write_text(to_yaml(config))
    command = [sys.executable, "run.py", "--config", str(tmp_path / "tiny.yaml"), f"run.directory={tmp_path / 'run'}"]
    for storage in (server_url, server_url, server_url.replace("/postgres", "/nowhere")):
        arguments = [*command, f"search.storage={storage}", "search.study=whole"]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == (2 if storage.endswith("nowhere") else 0), done.stderr
        assert not leaks((done.stdout + done.stderr).encode())
    assert "***" in (tmp_path / "run" / "config.yaml").read_text()
    assert (tmp_path / "run" / "report.html").exists()
    assert_unwritten(tmp_path / "run", server_url)
