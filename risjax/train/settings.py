"""What differs between trainings that share one compiled program.

Compiling a step takes longer than many of its runs, and a search trains many configurations that differ in
continuous settings only. Those are arguments of the program; everything else is part of it.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from risjax.config import (
    ChecksConfig,
    Config,
    EstimatorConfig,
    ModelConfig,
    PhysicsConfig,
    PrecisionConfig,
    TrainConfig,
)
from risjax.covariance import CovarianceSettings
from risjax.loss import active_weights


class Settings(NamedTuple):
    """The traced settings of one training, scalars all.

    Attributes:
        seed: ``run.seed``.
        learning_rate: peak of the schedule.
        weight_decay: AdamW's.
        clip_norm: global norm that gradients are clipped to.
        ema_decay: decay of the moving average of the parameters.
        loss_weights: weight of each active term.
        covariance: blend, shrinkage and loading of R_eff.
    """

    seed: Integer[Array, ""]
    learning_rate: Float[Array, ""]
    weight_decay: Float[Array, ""]
    clip_norm: Float[Array, ""]
    ema_decay: Float[Array, ""]
    loss_weights: dict[str, Float[Array, ""]]
    covariance: CovarianceSettings


def make_settings(config: Config) -> Settings:
    """The traced settings of a configuration."""
    dtype = jnp.dtype(config.precision.params)

    def scalar(value: float) -> Array:
        return jnp.asarray(value, dtype)

    return Settings(
        seed=jnp.asarray(config.run.seed, jnp.uint32),
        **{name: scalar(getattr(config.train, name)) for name in _TRACED_TRAIN},
        loss_weights={name: scalar(weight) for name, weight in active_weights(config.loss).items()},
        covariance=CovarianceSettings(
            *(scalar(getattr(config.covariance, name)) for name in CovarianceSettings._fields)
        ),
    )


class ProgramKey(NamedTuple):
    """What a compiled training program depends on: two configurations of one key share it."""

    physics: PhysicsConfig
    precision: PrecisionConfig
    model: ModelConfig
    terms: tuple[str, ...]
    train: TrainConfig
    estimator: EstimatorConfig
    checks: ChecksConfig


def program_key(config: Config) -> ProgramKey:
    """The key of a configuration's program, its traced settings blotted out."""
    train = config.train.model_copy(update=dict.fromkeys(_TRACED_TRAIN, 0.0))
    terms = tuple(active_weights(config.loss))
    return ProgramKey(config.physics, config.precision, config.model, terms, train, config.estimator, config.checks)


_TRACED_TRAIN = ("learning_rate", "weight_decay", "clip_norm", "ema_decay")
