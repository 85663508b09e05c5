"""AdamW or Muon under a warm-up-cosine schedule counted in applied updates."""

from typing import Literal, cast

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from risjax.train.settings import Settings


def learning_rate(settings: Settings, count: Int[Array, ""]) -> Float[Array, ""]:
    """Return an update's rate: linear warm-up to the peak, then a cosine to ``final_learning_rate_fraction`` of it.

    optax's schedules need their length at trace time; here it is traced, so that a search's short trainings and the
    winner's long one share a program. With W warm-up steps of T, update ``count`` = 0, 1, ... has the rate
    peak (count + 1) / W below W, and then falls from the peak at W to its end at T.
    """
    total = settings.total_steps
    warmup = jnp.clip(jnp.round(settings.warmup_fraction * total), 1, jnp.maximum(total - 1, 1))
    progress = jnp.clip((count - warmup) / jnp.maximum(total - warmup, 1), 0.0, 1.0)
    end = settings.final_learning_rate_fraction
    share = jnp.where(
        count < warmup, (count + 1) / warmup, end + (1.0 - end) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
    )
    return settings.learning_rate * share.astype(settings.learning_rate.dtype)


def _decayed(params: optax.Params) -> optax.Params:
    """Return the mask of weight decay: matrices only, neither biases nor scales and shifts of norms."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


MUON_RMS = 0.2
"""Root mean square of Muon's update at learning rate 1, equal to that of AdamW, so that both use the same learning rate
(J. Liu et al., "Muon is Scalable for LLM Training", 2025, arXiv:2502.16982, eq. 4)."""


def make_optimizer(name: Literal["adamw", "muon"], settings: Settings) -> optax.GradientTransformation:
    """Make the optimizer, after clipping by global norm. Its state's ``count`` increases with applied updates only.

    Muon (K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) orthogonalises the momentum
    of every matrix; AdamW updates the vectors under both names.
    """

    def rate(count: ArrayLike) -> Array:
        return learning_rate(settings, cast(Array, count))

    if name == "muon":
        chosen = optax.contrib.muon(
            rate, weight_decay=settings.weight_decay, weight_decay_mask=_decayed, consistent_rms=MUON_RMS
        )
    else:
        chosen = optax.adamw(rate, weight_decay=settings.weight_decay, mask=_decayed)
    return optax.chain(optax.clip_by_global_norm(settings.clip_norm), chosen)


def schedule_count(opt_state: optax.OptState) -> Int[Array, ""]:
    """Return the number of updates that the schedule has counted."""
    counts = [
        leaf
        for path, leaf in jax.tree.leaves_with_path(
            opt_state, is_leaf=lambda node: isinstance(node, optax.ScaleByScheduleState)
        )
        if isinstance(leaf, optax.ScaleByScheduleState)
    ]
    return cast(Array, counts[0].count)
