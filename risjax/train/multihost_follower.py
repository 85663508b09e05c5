"""Training in a follower process: the same steps on the same batches as the leader, and nothing else.

The leader runs `risjax.train.loop.train`. Both must run the same programs in the same order, or they would wait for
each other for ever: the leader announces a training (`begin`), broadcasts the state that it resumes (`share`) and sends
after every epoch whether to continue. A failing step fails in all processes, since all hold the same sums.
"""

from typing import TypeVar

import jax
from jax.experimental import multihost_utils

from risjax.checks import drop_checks, wait_for_checks
from risjax.config import Config
from risjax.config.io import from_yaml, to_yaml
from risjax.runs.multihost import receive, send, several
from risjax.train.mesh import make_mesh, one_copy, replicate
from risjax.train.settings import log_intervals
from risjax.train.state import StepInfo, TrainState
from risjax.train.trainer import Trainer

Tree = TypeVar("Tree")


def begin(config: Config, epoch: int) -> None:
    """Announce, as the leader, a training of which ``epoch`` epochs are finished."""
    send({"train": to_yaml(config), "epoch": epoch})


def share(state: Tree) -> Tree:
    """Return the leader's state, in every process."""
    return multihost_utils.broadcast_one_to_all(state) if several() else state


def follow() -> int:
    """Take part in all trainings of the leader until it ends; return its exit code."""
    while "exit" not in (message := receive()):
        if "train" in message:
            _train_with_leader(from_yaml(message["train"]), message["epoch"])
    return message["exit"]


def _train_with_leader(config: Config, done: int) -> None:
    mesh = make_mesh(config.train)
    trainer = Trainer(config, mesh)
    state = trainer.init()
    if done:
        state = replicate(share(one_copy(state)), mesh)
    for _ in range(done, config.train.epochs):
        state = _epoch(trainer, state)
        if not receive()["go_on"]:
            return


def _epoch(trainer: Trainer, state: TrainState) -> TrainState:
    """Run an epoch's steps, up to one that also stops the leader."""
    infos: list[StepInfo] = []
    for interval in log_intervals(trainer.config.train.steps_per_epoch):
        try:
            for _ in interval:
                state, info = trainer.advance(state)
                infos.append(info)
            wait_for_checks(state)
        except AssertionError:
            drop_checks()
            break
        if jax.device_get(infos[-1].skipped_in_a_row) >= trainer.config.train.max_consecutive_skips:
            break
    return state
