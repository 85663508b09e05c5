"""A training as the followers of several processes run it: the same steps on the same batches, and nothing else.

The leader's side is `risjax.train.loop.train`. Both run the same programs in the same order, or they would wait for
one another for ever: the leader announces a training (`begin`), hands out the state that it resumes (`share`), and
says after every epoch whether to go on. What goes wrong in a step goes wrong in all processes, since all hold the
same sums.
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
    """The leader announces a training of which ``epoch`` epochs are done."""
    send({"train": to_yaml(config), "epoch": epoch})


def share(state: Tree) -> Tree:
    """The leader's state, in every process."""
    return multihost_utils.broadcast_one_to_all(state) if several() else state


def follow() -> int:
    """Takes part in all that the leader trains, until it ends; returns the exit code that it ends with."""
    while "exit" not in (message := receive()):
        if "train" in message:
            _train_along(from_yaml(message["train"]), message["epoch"])
    return message["exit"]


def _train_along(config: Config, done: int) -> None:
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
    """An epoch's steps, up to the one that stops the leader too."""
    infos: list[StepInfo] = []
    for interval in log_intervals(trainer.config.train.steps_per_epoch):
        try:
            for _ in interval:
                state, info = trainer.advance(state)
                infos.append(info)
            wait_for_checks()
        except AssertionError:
            drop_checks()
            break
        if jax.device_get(infos[-1].skipped_in_a_row) >= trainer.config.train.max_consecutive_skips:
            break
    return state
