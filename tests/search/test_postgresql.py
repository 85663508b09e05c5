"""Four workers with directories of their own, as on four machines, share a study in a real PostgreSQL server."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from risjax.run_directory import RunDirectory
from risjax.search import open_study
from risjax.search.slots import END
from risjax.search.storage import close_storage
from tests.search.fake import make_config
from tests.search.test_kills import go, records, wait_until, worker


def find(program: str) -> str | None:
    """A PostgreSQL program, on PATH or where Debian keeps it."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return shutil.which(program) or (str(places[-1]) if places else None)


@pytest.fixture
def server_url() -> Iterator[str]:
    """The URL of an empty database in a server of its own, gone after the test."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'psycopg[binary]'")
    initdb, postgres = find("initdb"), find("postgres")
    if initdb is None or postgres is None:
        pytest.skip("needs a PostgreSQL server (initdb, postgres)")
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, socket.socket() as free:
        if user is not None:
            shutil.chown(folder, user)
        data = Path(folder) / "data"
        options = {"user": user, "cwd": "/", "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([initdb, "-D", data, "-U", "risjax", "--auth=trust", "-E", "UTF8"], check=True, **options)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        server = subprocess.Popen(
            [postgres, "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-F"], **options
        )
        try:
            wait_until(lambda: accepts(port))
            yield f"postgresql://risjax:s3cret@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def accepts(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(host="127.0.0.1", port=port, user="risjax", dbname="postgres", connect_timeout=2).close()
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
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"s3cret" not in file.read_bytes(), f"{file} holds the password"
