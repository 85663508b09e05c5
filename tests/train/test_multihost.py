"""Several processes train one network: who is who, and two real ones on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from risjax.config import Config, Distribution
from risjax.config.distributed import DistributedConfig
from risjax.config.errors import ConfigError
from risjax.config.io import apply_overrides, to_yaml
from risjax.runs.multihost import Membership, leads, membership, several
from risjax.runs.run_directory import RunDirectory
from tests.programs import flags_of_devices
from tests.tiny import tiny_config

ROOT = Path(__file__).resolve().parents[2]
FLOAT32 = {"precision.compute": "float32"}
RELATIVE = 1e-6
"""Processes add their gradients in another order than one device: see test_devices.py."""

ADDRESS, NUMBER, ID = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


@pytest.mark.parametrize(
    ("settings", "environment", "expected"),
    [
        ({}, {}, None),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 1}, {}, ("a:1", 2, 1)),
        ({}, {ADDRESS: "a:1", NUMBER: "2", ID: "0"}, ("a:1", 2, 0)),
        ({"process_id": 1}, {ADDRESS: "a:1", NUMBER: "2", ID: "0"}, ("a:1", 2, 1)),
        ({"coordinator": "auto"}, {}, (None, None, None)),
        ({}, {"SLURM_JOB_ID": "1", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, None),
    ],
)
def test_the_rank_comes_from_the_settings_then_from_the_environment(settings, environment, expected):
    place = membership(DistributedConfig(**settings), environment)
    assert place == (None if expected is None else Membership(*expected))


@pytest.mark.parametrize(
    ("settings", "environment", "words"),
    [
        (
            {"coordinator": "a:1"},
            {},
            r"(?s)distributed\.num_processes.*is missing.*distributed\.process_id.*is missing",
        ),
        ({"process_id": 0}, {}, r"distributed\.coordinator\n.*is missing; got process_id, expected all of"),
        ({}, {ADDRESS: "a:1", NUMBER: "2"}, f"distributed.process_id\n.*or as {ID}"),
        ({}, {ADDRESS: "a:1", NUMBER: "two", ID: "0"}, "got 'two', expected an integer"),
        ({"process_id": 2}, {ADDRESS: "a:1", NUMBER: "2"}, "got 2, expected a number from 0 to num_processes - 1 = 1"),
    ],
)
def test_an_incomplete_rank_is_refused_with_the_missing_settings(settings, environment, words):
    with pytest.raises(ConfigError, match=words):
        membership(DistributedConfig(**settings), environment)


@pytest.mark.parametrize("changes", [{"coordinator": "no port"}, {"num_processes": 2, "process_id": 2}])
def test_an_impossible_rank_is_refused_by_the_schema(changes):
    with pytest.raises(ConfigError, match="distributed"):
        apply_overrides(tiny_config(), {f"distributed.{name}": value for name, value in changes.items()})


def test_a_single_process_leads():
    assert leads()
    assert not several()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def commands(folder: Path, config: Config, places: Sequence[Mapping[str, str]]) -> Iterator[list[subprocess.Popen]]:
    """``run.py`` once for each environment, the k-th in ``folder/k`` if it writes at all."""
    folder.mkdir(exist_ok=True)
    file = folder / "tiny.yaml"
    file.write_text(to_yaml(config))
    started = []
    try:
        for index, place in enumerate(places):
            environment = {**os.environ, "JAX_PLATFORMS": "cpu", **place}
            command = [sys.executable, "run.py", "--config", str(file), f"run.directory={folder / str(index)}"]
            output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            started.append(subprocess.Popen(command, cwd=ROOT, env=environment, **output))
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def two_places(devices: int = 1) -> list[dict[str, str]]:
    """The environments of two processes with so many devices each."""
    flags = {"XLA_FLAGS": flags_of_devices(devices)}
    address = f"127.0.0.1:{free_port()}"
    return [{ADDRESS: address, NUMBER: "2", ID: str(index), **flags} for index in range(2)]


def ended(processes: Sequence[subprocess.Popen]) -> list[tuple[int, str]]:
    """Exit codes and outputs."""
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in RunDirectory(folder).read_log("step")]


@pytest.mark.slow
def test_two_processes_train_as_one_and_only_the_first_writes(tmp_path):
    config = tiny_config(precision__compute="float32")
    with (
        commands(tmp_path / "one", config, [{}]) as one,
        commands(tmp_path / "two", config, two_places(devices=2)) as two,
    ):
        codes = ended([*one, *two])
    assert [code for code, _ in codes] == [0, 0, 0], codes
    assert "4 devices share each batch of 4 scenes" in codes[1][1]
    assert "this process follows" in codes[2][1]
    expected = losses(tmp_path / "one" / "0")
    assert len(expected) == 12
    assert losses(tmp_path / "two" / "0") == pytest.approx(expected, rel=RELATIVE)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["0", "tiny.yaml"], "the follower wrote"


@pytest.mark.slow
def test_two_processes_search_and_survive_a_kill_of_both(tmp_path):
    space = {"train.learning_rate": Distribution(log_uniform=(1.0e-4, 1.0e-1))}
    changes = {
        **FLOAT32,
        "stages": ["search", "train"],
        "train.epochs": 2,
        "search.trials": 5,
        "search.epochs": 3,
        "search.startup_trials": 1,
        "search.metric": "nmse",
    }
    config = apply_overrides(tiny_config(), changes)
    config = config.model_copy(update={"search": config.search.model_copy(update={"space": space})})
    with commands(tmp_path / "one", config, [{}]) as one:
        assert ended(one)[0][0] == 0
    log = tmp_path / "two" / "0" / "search" / "trials.json"
    with commands(tmp_path / "two", config, two_places()) as (leader, follower):
        deadline = time.monotonic() + 240
        while not (log.exists() and len(json.loads(log.read_text())) > 1):
            assert time.monotonic() < deadline
            assert leader.poll() is None, leader.communicate()[0]
            time.sleep(0.1)
        leader.send_signal(signal.SIGKILL)
        assert follower.wait(timeout=200) != 0, "a follower ends with its leader"
    with commands(tmp_path / "two", config, two_places()) as two:
        codes = ended(two)
    assert [code for code, _ in codes] == [0, 0], codes
    trials = {
        name: json.loads((tmp_path / name / "0" / "search" / "trials.json").read_text()) for name in ("one", "two")
    }
    for one_trial, two_trial in zip(trials["one"], trials["two"], strict=True):
        assert two_trial["params"] == pytest.approx(one_trial["params"], rel=RELATIVE)
        assert two_trial["state"] == one_trial["state"]
        assert two_trial["value"] == (
            None if one_trial["value"] is None else pytest.approx(one_trial["value"], rel=10 * RELATIVE)
        )
    assert {trial["state"] for trial in trials["two"]} == {"complete", "pruned"}
    assert losses(tmp_path / "two" / "0") == pytest.approx(losses(tmp_path / "one" / "0"), rel=10 * RELATIVE)


@pytest.mark.slow
def test_the_settings_of_a_scheduler_suffice(tmp_path):
    """Slurm's variables, as ``srun`` sets them for two tasks on one node."""
    slurm = {
        "SLURM_JOB_ID": str(free_port()),  # JAX takes the port from it
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NTASKS": "2",
    }
    config = apply_overrides(tiny_config(train__epochs=1), FLOAT32 | {"distributed.coordinator": "auto"})
    places = [slurm | {"SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)} for index in range(2)]
    with commands(tmp_path / "slurm", config, places) as two:
        codes = ended(two)
    assert [code for code, _ in codes] == [0, 0], codes
    assert "2 devices share each batch" in codes[0][1]


def test_an_incomplete_rank_ends_the_command_before_anything_is_written(tmp_path):
    with commands(tmp_path / "half", tiny_config(), [{ADDRESS: "127.0.0.1:1", NUMBER: "2"}]) as processes:
        ((code, output),) = ended(processes)
    assert code == 2
    assert "distributed.process_id\n      is missing; got coordinator, num_processes, expected all of" in output
    assert not (tmp_path / "half" / "0").exists()
