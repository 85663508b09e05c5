"""AdamW under a warm-up-cosine schedule counted in applied updates."""

import jax
import optax
from jaxtyping import Array, Int

from risjax.config import TrainConfig


def total_steps(config: TrainConfig) -> int:
    """Steps of the whole training, the schedule's length."""
    return config.epochs * config.steps_per_epoch


def make_schedule(config: TrainConfig) -> optax.Schedule:
    """Linear warm-up to the peak, cosine down to ``final_learning_rate_fraction`` of it."""
    steps = total_steps(config)
    warmup = min(max(1, round(config.warmup_fraction * steps)), max(1, steps - 1))
    return optax.warmup_cosine_decay_schedule(
        init_value=config.learning_rate / warmup,
        peak_value=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=config.learning_rate * config.final_learning_rate_fraction,
    )


def _decayed(params: optax.Params) -> optax.Params:
    """Weight decay is for matrices: biases, norms' scales and shifts are left alone."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Clip by global norm, then AdamW. Its state's ``count`` moves only with updates that are applied."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(make_schedule(config), weight_decay=config.weight_decay, mask=_decayed),
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
