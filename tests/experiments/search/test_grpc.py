"""Workers behind Optuna's gRPC proxy: a real server of it, two workers, one of them killed."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from risjax._compat.optuna import close_storage, storage_of
from risjax.experiments.search.slots import END
from risjax.experiments.search.study import open_study
from risjax.runs.run_directory import RunDirectory
from tests.experiments.search.fake import make_config
from tests.experiments.search.test_kills import ROOT, go, num_finished, records, wait_until, worker

_SERVE = """
import sys, warnings
warnings.simplefilter("ignore")
import optuna
from risjax.experiments.search.storage import open_storage
from pathlib import Path
storage = open_storage(f"sqlite:///{sys.argv[1]}/study.db", Path(sys.argv[1]))
optuna.storages.run_grpc_proxy_server(storage, host="127.0.0.1", port=int(sys.argv[2]))
"""


@pytest.fixture
def proxy_url(tmp_path) -> Iterator[str]:
    """The URL of a proxy before an empty SQLite storage, gone after the test."""
    pytest.importorskip("grpc", reason="needs grpcio: pip install -e '.[grpc]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", _SERVE, str(tmp_path), str(port)], cwd=ROOT)
    try:
        wait_until(lambda: is_open(port))
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_two_workers_share_a_proxy_and_one_is_killed(tmp_path, proxy_url):
    settings = {"trials": 10, "epochs": 2, "pruner": "none", "storage": proxy_url, "study": "shared"}
    folders = [tmp_path / f"host{index}" for index in range(2)]
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(folder, 0.15, **settings)) for folder in folders]
        go(*workers)
        wait_until(lambda: max(num_finished(folder) for folder in folders) >= 4)
        workers[0].send_signal(signal.SIGKILL)
        time.sleep(0.2)
        assert workers[1].wait(240) == 0
    assert [row["state"] for row in records(folders[1])] == ["complete"] * 10
    study = open_study(make_config(**settings), RunDirectory(folders[1]))
    finished = [trial for trial in study.get_trials(deepcopy=False) if END not in trial.user_attrs]
    close_storage(storage_of(study))
    assert [trial.state.name for trial in finished] == ["COMPLETE"] * 10, "every configuration exactly once"
