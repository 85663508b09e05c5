"""Four workers share a study in a real PostgreSQL server."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.experiments.search.database import PASSWORD, QUOTED, StudyInServer, free_port, running


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
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if user is not None:
            shutil.chown(folder, user)
        data, secret = Path(folder) / "data", Path(folder) / "secret"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o644)
        options = {"user": user, "cwd": "/"}
        setup = [initdb, "-D", data, "-U", "risjax", "--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8"]
        subprocess.run(setup, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        port = free_port()
        url = f"postgresql://risjax:{QUOTED}@127.0.0.1:{port}/postgres"
        command = [postgres, "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-F"]
        with running(command, lambda: accepts(url), stop=signal.SIGINT, **options):
            yield url


def accepts(url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def rows(url: str) -> Iterator[tuple[str, str]]:
    """(table, text) of every row."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        query = sql.SQL("SELECT t::text FROM {} t")
        for (table,) in tables:
            for (text,) in connection.execute(query.format(sql.Identifier(table))).fetchall():
                yield table, text


class TestStudyInPostgreSQL(StudyInServer):
    rows = staticmethod(rows)
