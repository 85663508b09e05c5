"""Trials that train together: one vmapped program for configurations that differ in continuous settings only.

`risjax.train.settings` makes the continuous settings arguments of the training program; stacked, they train a
population in the time an accelerator needs for little more than one. Every member sees the batches that it
would see alone, is judged after every epoch, and leaves when it is pruned or goes non-finite; the others go on.
Members are numerically what they would be alone up to the rounding of batched products.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optuna

from risjax.config import Config
from risjax.config.io import apply_overrides, to_yaml
from risjax.experiments.search.objective import Judge, Verdict, pruned
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.train.settings import log_intervals, make_settings, program_key
from risjax.train.state import StepInfo
from risjax.train.step import make_step
from risjax.train.trainer import Trainer, make_program
from risjax.train.validation import make_validation

TrainPopulation = Callable[[Sequence[Config], Sequence[Judge], Sequence[RunDirectory]], list[Verdict]]


def groups(configs: Sequence[Config]) -> list[list[int]]:
    """Indices of configurations that can train together, in order: one program, one stream of scenes."""
    found: dict[Any, list[int]] = {}
    for index, config in enumerate(configs):
        lengths = config.train.epochs, config.train.steps_per_epoch
        found.setdefault((program_key(config), config.run.seed, lengths), []).append(index)
    return list(found.values())


def train_population(
    configs: Sequence[Config], judges: Sequence[Judge], directories: Sequence[RunDirectory]
) -> list[Verdict]:
    """Trains configurations of one group together and judges each.

    Args:
        configs: the members, all of one of `groups`.
        judges: one a member.
        directories: one a member; receives its configuration and a line an epoch. No checkpoints are kept.

    Returns:
        A verdict a member.

    Raises:
        ConfigError: the scenes or the network cannot be built; nothing was trained.
    """
    # One member's assertion would stop them all: they are watched through their reports instead.
    configs = [apply_overrides(config, {"checks.finite": False}) for config in configs]
    for config, directory in zip(configs, directories, strict=True):
        write_atomically(directory.config_path, to_yaml(config))
    Trainer(configs[0]).dtypes()
    key = program_key(configs[0])
    program = make_program(key)
    settings = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(make_settings, configs))
    first = jax.tree.map(lambda leaf: leaf[0], settings)
    states = jax.jit(jax.vmap(program.init))(settings)
    step = jax.jit(jax.vmap(make_step(key, program.network), in_axes=(0, None, 0)))
    validations = [make_validation(config) for config in configs]
    verdicts: list[Verdict | None] = [None] * len(configs)

    def living() -> list[int]:
        return [member for member, verdict in enumerate(verdicts) if verdict is None]

    for epoch in range(1, configs[0].train.epochs + 1):
        infos: list[StepInfo] = []
        for interval in log_intervals(configs[0].train.steps_per_epoch):
            pending: list[StepInfo] = []
            for _ in interval:
                # All members have tried the same number of steps, so they are at the same batch of the stream.
                states, info = step(states, program.draw(first, states.step[0]), settings)
                pending.append(info)
            infos += jax.device_get(pending)
        health: StepInfo = jax.tree.map(lambda *leaves: np.stack(leaves), *infos)
        for member in living():
            verdicts[member] = _nonfinite_reason(
                jax.tree.map(lambda leaf, m=member: leaf[:, m], health), configs[member]
            )
        for member in living():
            validation = validations[member](jax.tree.map(lambda leaf, m=member: leaf[m], states.ema))
            record = {
                "kind": "epoch",
                "epoch": epoch,
                "loss": float(health.loss[:, member].mean()),
                "validation": validation,
                "skipped_steps": int(states.skipped[member]),
            }
            directories[member].append_log(record)
            try:
                judges[member].on_epoch(record)
            except optuna.TrialPruned as stopped:
                verdicts[member] = pruned(str(stopped))
        if not living():
            break
    return [verdict or judge.verdict() for verdict, judge in zip(verdicts, judges, strict=True)]


def _nonfinite_reason(health: StepInfo, config: Config) -> Verdict | None:
    """The verdict on a member whose epoch was not finite: float16 may skip a few steps, nothing else may."""
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
