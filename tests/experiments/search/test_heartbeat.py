"""Detection of dead workers."""

import os
import subprocess
import sys
import time
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from risjax.experiments.search.heartbeat import BEAT, OWNER, HeartbeatMonitor, heartbeat, identity, process_start


def running(attributes: dict[str, Any] | None = None) -> optuna.trial.FrozenTrial:
    trial = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
    trial.number = 0
    return trial


def test_a_process_differs_from_its_successor_with_the_same_id():
    me = identity()
    assert not HeartbeatMonitor(1.0).is_dead(running({OWNER: me}))
    assert HeartbeatMonitor(1.0).is_dead(running({OWNER: {**me, "start": "1"}}))


def test_a_killed_process_is_dead_at_once_even_as_a_zombie():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    owner = {**identity(), "pid": process.pid, "start": process_start(process.pid)}
    assert not HeartbeatMonitor(3600.0).is_dead(running({OWNER: owner}))
    process.kill()
    deadline = time.monotonic() + 10
    while not HeartbeatMonitor(3600.0).is_dead(running({OWNER: owner})):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.wait()
    assert HeartbeatMonitor(3600.0).is_dead(running({OWNER: owner}))


def test_a_worker_on_another_machine_is_dead_after_six_missed_heartbeats(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("risjax.experiments.search.heartbeat.time.monotonic", lambda: now[0])
    owner = {"machine": "elsewhere", "pid": os.getpid(), "start": "1"}
    watch = HeartbeatMonitor(heartbeat_s=10.0)
    for beat in range(3):
        assert not watch.is_dead(running({OWNER: owner, BEAT: beat}))
        now[0] += 59.0
    assert not watch.is_dead(running({OWNER: owner, BEAT: 2}))
    now[0] += 2.0
    assert watch.is_dead(running({OWNER: owner, BEAT: 2}))


def test_an_unsigned_trial_is_dead_after_ten_seconds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("risjax.experiments.search.heartbeat.time.monotonic", lambda: now[0])
    watch = HeartbeatMonitor(heartbeat_s=10.0)
    assert not watch.is_signed(running())
    assert not watch.is_dead(running())
    now[0] = 10.1
    assert watch.is_dead(running())


def test_a_worker_signs_and_sends_heartbeats(tmp_path):
    study = optuna.create_study()
    trial = study.ask()
    with heartbeat(trial, heartbeat_s=0.01):
        assert trial.user_attrs[OWNER] == identity()
        deadline = time.monotonic() + 10
        while study.trials[0].user_attrs.get(BEAT, 0) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        study.tell(trial, 1.0)
        time.sleep(0.05)  # the heart stops by itself once the trial is finished
    assert study.trials[0].state == TrialState.COMPLETE


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_missing_process_has_no_start_time():
    assert process_start(2**22 + 1) is None
