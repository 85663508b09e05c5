"""Several processes that train one network together: process 0 leads, the others follow.

The leader does all that a single process does: it opens the run's directory, asks the study, validates, writes.
The followers know only what it tells them: the configuration of the next training, after every epoch whether it
goes on, in the end that there is nothing left. They hold their devices' share of every batch and write no files.

Messages go through the key-value store of JAX's coordination service, and not through collectives of the devices,
which must be entered by all within a time limit: between two trainings a leader may evaluate for an hour.
jax is imported by the functions, so that a process that trains alone starts at once.
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
"""How long one question to the key-value store waits; the next one follows at once."""

_numbers = itertools.count()
"""Numbers of the messages told or heard; one process does only one of the two."""


class Membership(NamedTuple):
    """One process's place among several; all None where the scheduler is asked."""

    coordinator: str | None
    num_processes: int | None
    process_id: int | None


def membership(config: DistributedConfig, environment: Mapping[str, str] = os.environ) -> Membership | None:
    """This process's place, from the configuration and, where that is silent, from the environment.

    Returns:
        None where neither says anything: the process trains alone.

    Raises:
        ConfigError: some of the three settings are missing, or a variable is no number.
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
                f"is missing: {', '.join(sorted(found))} alone do not say how several processes train together; give "
                f"it here or as {variable}, or distributed.coordinator=auto under a scheduler"
            )
            problems.append(Problem(f"distributed.{name}", "", text))
    if not problems and found["process_id"] >= found["num_processes"]:
        text = f"counts from 0 and must be below num_processes = {found['num_processes']}, got {found['process_id']}"
        problems.append(Problem("distributed.process_id", "", text))
    if problems:
        raise ConfigError(problems)
    return Membership(**found)


def join(config: DistributedConfig) -> None:
    """Joins the other processes, and waits until all are there; does nothing for a process that trains alone.

    Raises:
        ConfigError: only some of the settings were given, or the others were not found.
    """
    place = membership(config)
    if place is None:
        return
    import jax

    # It would catch SIGTERM, with which schedulers ask a process to end, and leave it running.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        if place.coordinator is None:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(*place, cluster_detection_method="deactivate")
    except (RuntimeError, ValueError) as error:
        where = place.coordinator or "what the scheduler says"
        text = f"the processes did not find one another at {where}: {str(error).splitlines()[0]}"
        raise ConfigError([Problem("distributed.coordinator", "", text)]) from error


def several() -> bool:
    """Whether this process trains with others."""
    return _state().num_processes > 1


def leads() -> bool:
    """Whether this process leads, alone or with others."""
    return _state().process_id == 0


def send(message: Mapping[str, Any]) -> None:
    """The leader's word to all followers; lost where there are none."""
    if several():
        _state().client.key_value_set(_key(), json.dumps(message))


def receive() -> dict[str, Any]:
    """A follower's next message, however long it takes.

    Raises:
        RuntimeError: the leader is gone.
    """
    key = _key()
    while True:
        try:
            return json.loads(_state().client.blocking_key_value_get(key, _PATIENCE_MS))
        except RuntimeError as error:  # jaxlib's own subclass, with the kind of failure in its text alone
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


@contextmanager
def broadcast_outcome() -> Iterator[None]:
    """A block after which the followers learn whether to go on: yes, where nothing was raised in it."""
    try:
        yield
    except BaseException:
        send({"go_on": False})
        raise
    send({"go_on": True})


def _key() -> str:
    return f"risjax/message/{next(_numbers)}"


def _state() -> Any:
    if "jax" not in sys.modules:  # nothing can have been joined
        return _Alone()
    from risjax._compat.jax import coordination_state

    return coordination_state()


class _Alone(NamedTuple):
    """What JAX's own state says of a process that has joined nothing."""

    process_id: int = 0
    num_processes: int = 1
