"""Trials that train together: one vmapped program for configurations that differ in continuous settings only.

`risjax.train.settings` makes the continuous settings arguments of the training program; stacked, they train a
population in the time an accelerator needs for little more than one. Every member sees the batches that it
would see alone, is validated after every epoch, and leaves when it is pruned or becomes non-finite; the others
continue. Members have the numbers of separate trainings up to the rounding of batched products.
"""

import functools
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optuna

from risjax.config import Config
from risjax.config.io import apply_overrides, to_yaml
from risjax.experiments.search.objective import TrialMonitor, TrialOutcome, pruned
from risjax.runs.compiler_options import run_once
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.train.checkpoint import Checkpoints
from risjax.train.settings import Settings, log_intervals, make_settings, program_key
from risjax.train.state import StepInfo, TrainState, init_state
from risjax.train.step import Step, make_step
from risjax.train.trainer import Program, Trainer, make_program
from risjax.train.validation import make_validation

Tree = TypeVar("Tree")


@runtime_checkable
class TrainPopulation(Protocol):
    """The training of a group as a search calls it; `train_population` is the real one."""

    def __call__(
        self, configs: Sequence[Config], monitors: Sequence[TrialMonitor], directories: Sequence[RunDirectory]
    ) -> list[TrialOutcome]:
        """Train the configurations of one group together; return an outcome for each."""
        ...


def groups(configs: Sequence[Config]) -> list[list[int]]:
    """Return the indices of configurations that can train together, with one program and one stream of scenes."""
    found: dict[Any, list[int]] = {}
    for index, config in enumerate(configs):
        lengths = config.train.epochs, config.train.steps_per_epoch
        found.setdefault((program_key(config), config.run.seed, lengths), []).append(index)
    return list(found.values())


def train_population(
    configs: Sequence[Config], monitors: Sequence[TrialMonitor], directories: Sequence[RunDirectory]
) -> list[TrialOutcome]:
    """Train the configurations of one group together.

    Args:
        configs: the members, all of one of `groups`.
        monitors: one for each member.
        directories: one for each member; receives its configuration and a line for each epoch, and the checkpoint of
            the best epoch so far.

    Returns:
        An outcome for each member.

    Raises:
        ConfigError: the scenes or the network cannot be built; nothing was trained.
    """
    # One member's assertion would stop all members; their reports are checked instead.
    configs = [apply_overrides(config, {"checks.finite": False}) for config in configs]
    for config, directory in zip(configs, directories, strict=True):
        write_atomically(directory.config_path, to_yaml(config))
    Trainer(configs[0]).dtypes()
    key = program_key(configs[0])
    program = make_program(key)
    settings = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(make_settings, configs))
    init = jax.vmap(functools.partial(init_state, key, program.network))
    states = jax.jit(init, compiler_options=run_once())(settings)
    step = jax.vmap(make_step(key, program.network), in_axes=(0, None, 0))
    step = jax.jit(step, compiler_options=dict(key.compiler_options))
    members = [_Member(index, *parts) for index, parts in enumerate(zip(configs, monitors, directories, strict=True))]
    for epoch in range(1, configs[0].train.epochs + 1):
        states, health = _train_epoch(program, step, states, settings, configs[0].train.steps_per_epoch)
        active = [member for member in members if member.outcome is None]
        for member in active:
            member.end_epoch(epoch, states, health)
        if all(member.outcome is not None for member in active):
            break
    return [member.outcome or member.monitor.outcome() for member in members]


def _train_epoch(
    program: Program, step: Step, states: TrainState, settings: Settings, steps: int
) -> tuple[TrainState, StepInfo]:
    """Train all members for an epoch; return their states and the reports of all steps, [steps, members]."""
    first = jax.tree.map(lambda leaf: leaf[0], settings)
    infos: list[StepInfo] = []
    for interval in log_intervals(steps):
        pending: list[StepInfo] = []
        for _ in interval:
            # All members have tried the same number of steps, so they are at the same batch of the stream.
            states, info = step(states, program.draw(first, states.step[0]), settings)
            pending.append(info)
        infos += jax.device_get(pending)
    return states, jax.tree.map(lambda *leaves: np.stack(leaves), *infos)


class _Member:
    """One trial of a group.

    Attributes:
        monitor: receives the record of each epoch.
        outcome: of a trial that has ended before its last epoch; None while it trains.
    """

    def __init__(self, index: int, config: Config, monitor: TrialMonitor, directory: RunDirectory):
        self.monitor = monitor
        self.outcome: TrialOutcome | None = None
        self._index, self._config, self._directory = index, config, directory
        self._validate = make_validation(config)

    def end_epoch(self, epoch: int, states: TrainState, health: StepInfo) -> None:
        """Validate, log and report an epoch; save its state if it is the best; end the trial if it is pruned."""
        loss = health.loss[:, self._index]
        self.outcome = _nonfinite_reason(jax.tree.map(lambda leaf: leaf[:, self._index], health), self._config)
        if self.outcome is not None:
            return
        validation = self._validate(self._of(states.ema))
        record = {
            "kind": "epoch",
            "epoch": epoch,
            "loss": float(loss.mean()),
            "validation": validation,
            "skipped_steps": int(states.skipped[self._index]),
        }
        self._directory.append_log(record)
        try:
            self.monitor.on_epoch(record)
        except optuna.TrialPruned as stopped:
            self.outcome = pruned(str(stopped))
        if self.outcome is None and self.monitor.is_best_epoch:
            metadata = {"epoch": epoch, "best_epoch": epoch, "best": validation}
            Checkpoints(self._directory.checkpoints).save(self._of(states), metadata, best_epoch=epoch)

    def _of(self, states: Tree) -> Tree:
        """Return the member's part of a stacked tree."""
        return jax.tree.map(lambda leaf: leaf[self._index], states)


def _nonfinite_reason(health: StepInfo, config: Config) -> TrialOutcome | None:
    """Return the outcome of a member whose epoch was not finite, else None. Only float16 may skip a few steps."""
    bad = ~np.isfinite(health.loss)
    if config.precision.compute == "float16":
        bad |= health.skipped_in_a_row >= config.train.max_consecutive_skips
    else:
        bad |= ~health.finite
    if not bad.any():
        return None
    index = int(np.flatnonzero(bad)[0])
    what = "its loss" if not np.isfinite(health.loss[index]) else "its gradient"
    return pruned(f"non-finite training: {what} is not finite at step {index} of the epoch")
