"""Settings that are arguments of a compiled training program, and the key of those that are part of it.

Compiling a step takes longer than many steps, and a search trains many configurations that differ in continuous
settings only. These are arguments of the program; all other settings are part of it.
"""

from collections.abc import Hashable, Iterator
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from risjax.config import (
    ChecksConfig,
    Config,
    ModelConfig,
    PhysicsConfig,
    PrecisionConfig,
    TrainConfig,
)
from risjax.covariance import CovarianceSettings, covariance_settings
from risjax.loss import LossSettings, loss_settings
from risjax.runs.compiler_options import for_training

LOG_INTERVAL_STEPS = 10
"""Steps between transfers to the host: reports are fetched, assertions awaited, lines of the log written."""


def log_intervals(num_steps: int) -> Iterator[range]:
    """Return the steps from 0 to ``num_steps`` in runs of `LOG_INTERVAL_STEPS`, after each of which the host visits."""
    for first in range(0, num_steps, LOG_INTERVAL_STEPS):
        yield range(first, min(first + LOG_INTERVAL_STEPS, num_steps))


class Settings(NamedTuple):
    """Traced settings of one training, all scalars.

    Attributes:
        seed: ``run.seed``.
        total_steps: length of the schedule.
        learning_rate: peak of the schedule.
        warmup_fraction: share of the schedule that warms up.
        final_learning_rate_fraction: share of the peak where the schedule ends.
        weight_decay: AdamW's.
        clip_norm: global norm that gradients are clipped to.
        ema_decay: decay of the moving average of the parameters.
        loss: weights and numbers of the active terms.
        covariance: blend and loading of R_eff.
    """

    seed: Integer[Array, ""]
    total_steps: Integer[Array, ""]
    learning_rate: Float[Array, ""]
    warmup_fraction: Float[Array, ""]
    final_learning_rate_fraction: Float[Array, ""]
    weight_decay: Float[Array, ""]
    clip_norm: Float[Array, ""]
    ema_decay: Float[Array, ""]
    loss: LossSettings
    covariance: CovarianceSettings


def total_steps(config: TrainConfig) -> int:
    """Return the number of steps of the whole training, the schedule's length."""
    return config.epochs * config.steps_per_epoch


def make_settings(config: Config) -> Settings:
    """Return the traced settings of a configuration."""
    dtype = jnp.dtype(config.precision.params)

    def scalar(value: float) -> Array:
        return jnp.asarray(value, dtype)

    return Settings(
        seed=jnp.asarray(config.run.seed, jnp.uint32),
        total_steps=jnp.asarray(total_steps(config.train), jnp.int32),
        **{name: scalar(getattr(config.train, name)) for name in _TRACED_TRAIN},
        loss=jax.tree.map(scalar, loss_settings(config.loss)),
        covariance=covariance_settings(config.covariance, dtype),
    )


class ProgramKey(NamedTuple):
    """Everything that a compiled training program depends on; configurations with equal keys share a program.

    ``loss`` is the structure of `LossSettings`: its active terms, without their numbers. ``compiler_options`` are those
    of the step, as pairs; they depend on the length of the training.
    """

    physics: PhysicsConfig
    precision: PrecisionConfig
    model: ModelConfig
    loss: Hashable
    optimizer: Literal["adamw", "muon"]
    batch_size: int
    accumulation: int
    dataset_scenes: int
    compiler_options: tuple[tuple[str, bool | int], ...]
    checks: ChecksConfig


def program_key(config: Config) -> ProgramKey:
    """Return the key of a configuration's program, without the traced settings."""
    return ProgramKey(
        physics=config.physics,
        precision=config.precision,
        model=config.model,
        loss=jax.tree.structure(loss_settings(config.loss)),
        optimizer=config.train.optimizer,
        batch_size=config.train.batch_size,
        accumulation=config.train.accumulation,
        dataset_scenes=config.train.dataset_scenes,
        compiler_options=tuple(for_training(total_steps(config.train) * config.train.batch_size).items()),
        checks=config.checks,
    )


_TRACED_TRAIN = (
    "learning_rate",
    "warmup_fraction",
    "final_learning_rate_fraction",
    "weight_decay",
    "clip_norm",
    "ema_decay",
)
