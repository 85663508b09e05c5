"""AdamW under a warm-up-cosine schedule counted in applied updates."""

import jax
import optax
from jaxtyping import Array, Int

from risjax.config import TrainConfig
from risjax.train.settings import Settings


def total_steps(config: TrainConfig) -> int:
    """Steps of the whole training, the schedule's length."""
    return config.epochs * config.steps_per_epoch


def make_schedule(config: TrainConfig) -> optax.Schedule:
    """The learning rate as a share of its peak: linear warm-up to 1, cosine to ``final_learning_rate_fraction``."""
    steps = total_steps(config)
    warmup = min(max(1, round(config.warmup_fraction * steps)), max(1, steps - 1))
    return optax.warmup_cosine_decay_schedule(
        init_value=1.0 / warmup,
        peak_value=1.0,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=config.final_learning_rate_fraction,
    )


def _decayed(params: optax.Params) -> optax.Params:
    """Weight decay is for matrices: biases, norms' scales and shifts are left alone."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def make_optimizer(config: TrainConfig, settings: Settings) -> optax.GradientTransformation:
    """Clip by global norm, then AdamW. Its state's ``count`` moves only with updates that are applied.

    Args:
        config: the schedule's shape and length, part of the program.
        settings: peak learning rate, weight decay and clipping norm, numbers or traced.
    """
    shape = make_schedule(config)
    return optax.chain(
        optax.clip_by_global_norm(settings.clip_norm),
        optax.adamw(
            lambda count: settings.learning_rate * shape(count), weight_decay=settings.weight_decay, mask=_decayed
        ),
    )


def schedule_count(opt_state: optax.OptState) -> Int[Array, ""]:
    """Updates that the schedule has counted."""
    counts = [
        leaf
        for path, leaf in jax.tree.leaves_with_path(
            opt_state, is_leaf=lambda node: isinstance(node, optax.ScaleByScheduleState)
        )
        if isinstance(leaf, optax.ScaleByScheduleState)
    ]
    return counts[0].count
