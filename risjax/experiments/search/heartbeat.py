"""Heartbeats of workers, and detection of dead ones.

A worker signs its trial with the identity of its process, so that another worker on the same machine notices a kill at
once. Workers on other machines rely on heartbeats: the worker increments a counter in the trial's attributes, and a
worker whose counter does not change for six intervals is considered dead. Each machine measures this with its own
clock; clocks are not compared.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError

from risjax._compat.optuna import trial_id

OWNER, BEAT = "owner", "beat"
"""Attributes of a trial: the identity of its worker, and the worker's heartbeat counter."""

_MISSED_BEATS = 6
_UNSIGNED_S = 10.0
"""A worker signs a trial within milliseconds of creating it; if it takes this long, the worker died in between."""


def this_machine() -> str:
    """Return a name for the processes whose ids can be compared: host, boot and, on Linux, container."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(os.readlink("/proc/self/ns/pid").strip("pid:[]"))
    except OSError:
        pass
    return "/".join(parts)


def process_start(pid: int) -> str | None:
    """Return a process's start time in ticks, "" on systems without ``/proc``, None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def identity() -> dict[str, Any]:
    """Return the identity with which this process signs its trials."""
    return {"machine": this_machine(), "pid": os.getpid(), "start": process_start(os.getpid())}


class HeartbeatMonitor:
    """Detects the trials of dead workers; remembers each heartbeat counter with the time of its last change."""

    def __init__(self, heartbeat_s: float):
        self._patience_s = _MISSED_BEATS * heartbeat_s
        self._seen: dict[int, tuple[Any, float]] = {}

    def is_signed(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Return whether a worker has signed the trial."""
        return OWNER in trial.user_attrs

    def is_dead(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Return whether the worker of a running trial is known to be dead."""
        owner = trial.user_attrs.get(OWNER)
        if owner is not None and owner["machine"] == this_machine():
            return process_start(owner["pid"]) != owner["start"]
        beat = trial.user_attrs.get(BEAT)
        last, since = self._seen.get(trial.number, (None, None))
        if since is None or last != (owner, beat):
            self._seen[trial.number] = ((owner, beat), time.monotonic())
            return False
        return time.monotonic() - since > (self._patience_s if owner is not None else _UNSIGNED_S)


@contextmanager
def heartbeat(trial: optuna.Trial, heartbeat_s: float) -> Iterator[None]:
    """Sign the trial and send heartbeats from a separate thread while the block runs."""
    trial.set_user_attr(OWNER, identity())
    stop = threading.Event()
    storage, identifier = trial.storage, trial_id(trial)

    def beat() -> None:
        count = 0
        while not stop.wait(heartbeat_s):
            count += 1
            try:
                storage.set_trial_user_attr(identifier, BEAT, count)
            except UpdateFinishedTrialError:
                return
            except (StorageInternalError, OSError):  # a database or disk that fails for a moment; the next beat retries
                continue

    thread = threading.Thread(target=beat, name="search heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
