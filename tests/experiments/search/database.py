"""Tests of a study in a database server, common to all servers."""

import re
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from risjax._compat.optuna import close_storage, storage_of
from risjax.config import Distribution
from risjax.config.io import apply_overrides, to_yaml
from risjax.experiments.search.slots import END
from risjax.experiments.search.study import open_study
from risjax.runs.run_directory import RunDirectory
from tests.experiments.search.fake import make_config
from tests.experiments.search.test_kills import ROOT, go, num_finished, records, wait_until, worker
from tests.tiny import tiny_config

PASSWORD = "s3cret/of:ada@home"
QUOTED = quote(PASSWORD, safe="")
"""The password in a URL, where some of its characters must be quoted. The servers do ask for it."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running(command: list, accepts: Callable[[], bool], *, stop: signal.Signals, **options) -> Iterator[None]:
    """A server from its first accepted login to the end of the block."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        wait_until(lambda: server.poll() is not None or accepts())
        assert server.poll() is None, f"the server ended at once: {command}"
        yield
    finally:
        server.send_signal(stop)
        try:
            server.wait(30)
        finally:
            server.kill()
            server.wait()


def share_a_study_and_kill_two(folder: Path, url: str, capfd) -> None:
    """Four workers with directories of their own, as on four machines; two die, every configuration ends once."""
    settings = {"trials": 24, "epochs": 2, "pruner": "none", "storage": url, "study": "shared"}
    hosts = [folder / f"host{index}" for index in range(4)]
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(host, 0.15, **settings)) for host in hosts]
        go(*workers)
        wait_until(lambda: max(num_finished(host) for host in hosts) >= 8)
        for victim in workers[:2]:
            victim.send_signal(signal.SIGKILL)
            time.sleep(0.2)
        printed = "".join(process.communicate(timeout=120)[0] for process in workers)
        assert [process.returncode for process in workers] == [-signal.SIGKILL, -signal.SIGKILL, 0, 0]
    assert [row["state"] for row in records(hosts[3])] == ["complete"] * 24
    study = open_study(make_config(**settings), RunDirectory(hosts[3]))
    finished = [trial for trial in study.get_trials(deepcopy=False) if END not in trial.user_attrs]
    close_storage(storage_of(study))
    assert [trial.state.name for trial in finished] == ["COMPLETE"] * 24, "every configuration exactly once"
    assert not leaks(printed + "".join(capfd.readouterr()))  # workers write errors where pytest does


def run_whole(folder: Path, url: str) -> None:
    """``run.py`` twice against a database and once against none: search, training, evaluation and report."""
    space = {"train.learning_rate": Distribution(log_uniform=(1.0e-4, 1.0e-2))}
    stages = ["search", "train", "evaluate", "report"]
    changes = {"stages": stages, "search.trials": 4, "search.epochs": 1, "train.epochs": 1, "search.metric": "nmse"}
    config = apply_overrides(tiny_config(), changes)
    config = config.model_copy(update={"search": config.search.model_copy(update={"space": space})})
    (folder / "tiny.yaml").write_text(to_yaml(config))
    command = [sys.executable, "run.py", "--config", str(folder / "tiny.yaml"), f"run.directory={folder / 'run'}"]
    for storage in (url, url, re.sub(r"/\w+$", "/nowhere", url)):
        arguments = [*command, f"search.storage={storage}", "search.study=whole"]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == (2 if storage.endswith("nowhere") else 0), done.stderr
        assert not leaks(done.stdout + done.stderr)
    assert "***" in (folder / "run" / "config.yaml").read_text()
    assert (folder / "run" / "report.html").exists()


def assert_unwritten(folder: Path, rows: Iterable[tuple[str, str]]) -> None:
    """The password is in no file of a folder and in no row, given as (table, text), of the study's tables."""
    for file in folder.rglob("*"):
        assert not file.is_file() or not leaks(file.read_bytes()), f"{file} holds the password"
    tables = set()
    for table, text in rows:
        tables.add(table)
        assert not leaks(text), f"table {table} holds the password"
    assert {"studies", "study_user_attributes", "trials", "trial_user_attributes", "trial_params"} <= tables


class StudyInServer(ABC):
    """Tests of every database server; a subclass has its fixture ``server_url`` and reads its rows."""

    @staticmethod
    @abstractmethod
    def rows(url: str) -> Iterable[tuple[str, str]]:
        """(table, text) of every row of the database."""

    def test_four_workers_two_of_them_killed(self, tmp_path, server_url, capfd):
        share_a_study_and_kill_two(tmp_path, server_url, capfd)
        assert_unwritten(tmp_path, self.rows(server_url))

    @pytest.mark.slow
    def test_a_whole_run_against_a_database_never_writes_its_password(self, tmp_path, server_url):
        run_whole(tmp_path, server_url)
        assert_unwritten(tmp_path / "run", self.rows(server_url))


def leaks(content: str | bytes) -> bool:
    content = content.encode() if isinstance(content, str) else content
    return PASSWORD.encode() in content or QUOTED.encode() in content
