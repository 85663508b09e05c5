"""Four workers share a study in a real MariaDB or MySQL server."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import optuna
import pytest

from risjax._compat.optuna import close_storage, storage_of
from risjax.experiments.search.storage import StorageError, open_storage
from risjax.experiments.search.study import search
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from tests.experiments.search.database import PASSWORD, QUOTED, StudyInServer, free_port, leaks, running
from tests.experiments.search.fake import make_config
from tests.experiments.search.test_kills import records

ACCOUNT = f"""CREATE USER risjax@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON `risjax%`.* TO risjax@'%';
"""
DATABASES = itertools.count()


def find(*programs: str) -> str | None:
    """The first of these programs that is there, on PATH or where Debian keeps it, which users have not on theirs."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
    return next((place for program in programs if (place := shutil.which(program, path=path))), None)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server that runs for these tests."""
    pytest.importorskip("pymysql", reason="needs PyMySQL: pip install -e '.[mysql]'")
    install = find("mariadb-install-db")
    daemon = find("mysqld") if install is None else find("mariadbd", "mysqld")
    if daemon is None:
        pytest.skip("needs a MariaDB or MySQL server (mariadbd and mariadb-install-db, or mysqld)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        account, port = Path(folder) / "account.sql", free_port()
        account.write_text(ACCOUNT)
        places = ["--no-defaults", f"--datadir={folder}/data"]
        places += ["--user=root"] if os.geteuid() == 0 else []  # without it the server refuses to run as root
        setup = [daemon, *places, "--initialize-insecure"] if install is None else [install, *places]
        subprocess.run(setup, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        command = [daemon, *places, f"--socket={folder}/socket", f"--pid-file={folder}/pid", f"--port={port}"]
        command += ["--bind-address=127.0.0.1", "--skip-name-resolve", f"--init-file={account}", "--loose-mysqlx=OFF"]
        command += ["--innodb-flush-log-at-trx-commit=0"]
        with running(command, lambda: accepts(port), stop=signal.SIGTERM):
            yield port


@pytest.fixture
def server_url(port) -> str:
    """The URL of an empty database."""
    name = f"risjax{next(DATABASES)}"
    with connect(port) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    return f"mysql+pymysql://risjax:{QUOTED}@127.0.0.1:{port}/{name}"


def connect(port: int, database: str | None = None):
    import pymysql

    return pymysql.connect(host="127.0.0.1", port=port, user="risjax", password=PASSWORD, database=database)


def accepts(port: int) -> bool:
    import pymysql

    try:
        connect(port).close()
    except pymysql.err.OperationalError:
        return False
    return True


def rows(url: str) -> Iterator[tuple[str, str]]:
    """(table, text) of every row."""
    place = urlsplit(url)
    with connect(place.port or 0, place.path.strip("/")) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        for (table,) in list(cursor.fetchall()):
            cursor.execute(f"SELECT * FROM `{table}`")
            for row in cursor.fetchall():
                yield table, " ".join(map(str, row))


class TestStudyInMySQL(StudyInServer):
    rows = staticmethod(rows)


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_a_connection_that_the_server_has_closed_is_opened_again(tmp_path, server_url, scheme):
    """Servers close connections that were idle for eight hours, this one after a second."""
    url = server_url.replace("mysql+", f"{scheme}+") + "?init_command=SET+wait_timeout%3D1"
    storage = open_storage(url, tmp_path)
    study = optuna.create_study(storage=storage)
    time.sleep(2.5)
    assert study.get_trials(deepcopy=False) == []
    close_storage(storage)


def test_numbers_come_back_bit_by_bit(tmp_path, server_url):
    """The draws of a sampler depend on them."""
    values = [float(value) for value in np.random.default_rng(3).lognormal(sigma=20.0, size=100)]
    storage = open_storage(server_url, tmp_path)
    trial = optuna.create_study(storage=storage, study_name="numbers").ask()
    for step, value in enumerate(values):
        trial.report(value, step)
    drawn = [trial.suggest_float(f"x{index}", 1.0e-9, 1.0e9, log=True) for index in range(10)]
    close_storage(storage)
    again = optuna.load_study(storage=open_storage(server_url, tmp_path), study_name="numbers")
    read = again.get_trials(deepcopy=False)[0]
    close_storage(storage_of(again))
    assert [read.intermediate_values[step] for step in range(100)] == values
    assert list(read.params.values()) == drawn


def test_an_error_longer_than_a_column_is_cut(tmp_path, server_url):
    """Such as a compiler's, with a program in it; a column takes 65,535 bytes and six for an accented letter."""

    def fails(config, directory, terminal, *, on_epoch):
        raise RuntimeError("é" * 100_000)

    directory = RunDirectory(tmp_path)
    with pytest.raises(RuntimeError, match="ééé"):
        search(make_config(trials=1, storage=server_url), directory, Terminal(quiet=True), train=fails)
    assert "RuntimeError: ééé" in records(tmp_path)[0]["reason"]


def test_the_password_may_be_in_an_option_file(tmp_path, server_url):
    options = tmp_path / "my.cnf"
    options.write_text(f'[client]\npassword="{PASSWORD}"\n')
    url = server_url.replace(f":{QUOTED}", "") + f"?read_default_file={options}"
    close_storage(open_storage(url, tmp_path))


def test_a_wrong_password_is_refused_and_not_printed(tmp_path, server_url):
    with pytest.raises(StorageError, match="Access denied") as caught:
        open_storage(server_url.replace(QUOTED, QUOTED + "0"), tmp_path)
    assert not leaks(str(caught.value))
