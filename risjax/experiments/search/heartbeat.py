"""Who is working on a trial, and whether they still live.

A worker signs its trial with the identity of its process, so that on the same machine a kill is seen at
once, without waiting for anything. Elsewhere only signs of life help: the worker counts a number up in the
trial's attributes, and whoever sees it stand still for six intervals of its own clock takes the worker for
dead (clocks are never compared between machines).
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

OWNER, BEAT = "owner", "beat"
"""Attributes of a trial: the identity of its worker, and the worker's count of signs of life."""

_SILENT_BEATS = 6
_UNSIGNED_S = 10.0
"""A worker signs its trial milliseconds after it is created; unsigned for this long, it died in between."""


def this_machine() -> str:
    """Names the set of processes within which process ids can be compared: host, boot and (Linux) container."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(os.readlink("/proc/self/ns/pid").strip("pid:[]"))
    except OSError:
        pass
    return "/".join(parts)


def process_start(pid: int) -> str | None:
    """When a process started (in ticks, where ``/proc`` says it; else ""), or None where none lives."""
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
    """This process, as it signs its trials."""
    return {"machine": this_machine(), "pid": os.getpid(), "start": process_start(os.getpid())}


class Watch:
    """Tells dead workers' trials from living ones; holds what was seen when."""

    def __init__(self, heartbeat_s: float):
        self._patience_s = _SILENT_BEATS * heartbeat_s
        self._seen: dict[int, tuple[Any, float]] = {}

    def is_signed(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the trial's worker has said who it is."""
        return OWNER in trial.user_attrs

    def is_dead(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the worker of a running trial is known to be dead."""
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
def alive(trial: optuna.Trial, heartbeat_s: float) -> Iterator[None]:
    """Signs the trial and shows signs of life while the block runs, from a thread of its own."""
    trial.set_user_attr(OWNER, identity())
    stop = threading.Event()
    storage, trial_id = trial.storage, trial._trial_id

    def beat() -> None:
        count = 0
        while not stop.wait(heartbeat_s):
            count += 1
            try:
                storage.set_trial_user_attr(trial_id, BEAT, count)
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
