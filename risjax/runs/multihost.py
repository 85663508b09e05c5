"""Several processes that train one network together: process 0 leads, the others follow.

The leader does everything that a single process does: it opens the run's directory, runs the study, validates, writes.
It sends the followers the configuration of each training, after every epoch whether to continue, and the end of the
run. The followers train on their devices' share of every batch and write no files.

Messages use the key-value store of JAX's coordination service instead of collectives of the devices, which all
processes must enter within a time limit: between two trainings a leader may evaluate for an hour. The functions import
jax, so that a single process starts at once.
"""

import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from risjax.config.distributed import DistributedConfig
from risjax.config.errors import ConfigError, Problem

_ENVIRONMENT = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "num_processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}
_AUTO = "auto"
_PATIENCE_MS = 60_000
"""Timeout of one request to the key-value store; the next request follows at once."""

_numbers = itertools.count()
"""Numbers of the messages sent or received; a process does only one of the two."""


class Membership(NamedTuple):
    """Rank of one process among several; all None if the scheduler provides it."""

    coordinator: str | None
    num_processes: int | None
    process_id: int | None


def membership(config: DistributedConfig, environment: Mapping[str, str] = os.environ) -> Membership | None:
    """Return this process's rank, from the configuration or, for settings that are null, from the environment.

    Returns:
        None if neither has any of the settings: the process trains alone.

    Raises:
        ConfigError: some of the three settings are missing, or a variable is not a number.
    """
    found, problems = {}, []
    for name, variable in _ENVIRONMENT.items():
        value = getattr(config, name)
        if value is None and variable in environment:
            text = environment[variable]
            if name != "coordinator" and not text.isdigit():
                problems.append(Problem(f"distributed.{name}", variable, f"got {text!r}, expected an integer"))
            value = int(text) if text.isdigit() and name != "coordinator" else text
        if value is not None:
            found[name] = value
    if not found:
        return None
    if found.get("coordinator") == _AUTO:
        return Membership(None, None, None)
    for name, variable in _ENVIRONMENT.items():
        if name not in found:
            text = (
                f"is missing; got {', '.join(sorted(found))}, expected all of {', '.join(_ENVIRONMENT)}: set it here "
                f"or as {variable}, or set distributed.coordinator=auto under a scheduler"
            )
            problems.append(Problem(f"distributed.{name}", "", text))
    if not problems and found["process_id"] >= found["num_processes"]:
        text = (
            f"got {found['process_id']}, expected a number from 0 to num_processes - 1 = {found['num_processes'] - 1}"
        )
        problems.append(Problem("distributed.process_id", "", text))
    if problems:
        raise ConfigError(problems)
    return Membership(**found)


def join(config: DistributedConfig) -> None:
    """Connect to the other processes and wait for all of them; do nothing for a process that trains alone.

    Raises:
        ConfigError: only some of the settings were given, or the other processes were not found.
    """
    place = membership(config)
    if place is None:
        return
    import jax

    # Otherwise the service catches SIGTERM, with which schedulers end a process, and the process continues to run.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        if place.coordinator is None:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(*place, cluster_detection_method="deactivate")
    except (RuntimeError, ValueError) as error:
        where = place.coordinator or "the coordinator of the scheduler"
        text = f"the processes did not find each other at {where}: {str(error).splitlines()[0]}"
        raise ConfigError([Problem("distributed.coordinator", "", text)]) from error


def several() -> bool:
    """Return whether this process trains with others."""
    return _state().num_processes > 1


def leads() -> bool:
    """Return whether this process leads, alone or with others."""
    return _state().process_id == 0


def send(message: Mapping[str, Any]) -> None:
    """Send the leader's message to all followers; do nothing without followers."""
    if several():
        _state().client.key_value_set(_key(), json.dumps(message))


def receive() -> dict[str, Any]:
    """Wait for a follower's next message, without a time limit.

    Raises:
        RuntimeError: the leader has ended.
    """
    key = _key()
    while True:
        try:
            return json.loads(_state().client.blocking_key_value_get(key, _PATIENCE_MS))
        except RuntimeError as error:  # jaxlib's own subclass, with the kind of failure only in its text
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


@contextmanager
def broadcast_outcome() -> Iterator[None]:
    """A block after which the followers are sent whether to continue: yes, unless it raises."""
    try:
        yield
    except BaseException:
        send({"go_on": False})
        raise
    send({"go_on": True})


def _key() -> str:
    return f"risjax/message/{next(_numbers)}"


def _state() -> Any:
    if "jax" not in sys.modules:  # (no connection without jax)
        return _Alone()
    from risjax._compat.jax import coordination_state

    return coordination_state()


class _Alone(NamedTuple):
    """JAX's state of a process without connections."""

    process_id: int = 0
    num_processes: int = 1
