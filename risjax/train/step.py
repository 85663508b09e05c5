"""One training step, pure: (state, batch) to (state, info).

A step whose gradient is not finite changes neither parameters, optimizer state, schedule nor EMA; it is
counted, and in float16 it halves the loss scale.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from risjax.checks import check_finite
from risjax.config import Config
from risjax.loss import Loss, make_labels, total_loss
from risjax.model import Network, Params, make_inputs
from risjax.precision import all_finite, select_tree, upcast
from risjax.train.optimizer import make_schedule, schedule_count
from risjax.train.state import StepInfo, TrainState
from risjax.types import Scene

Step = Callable[[TrainState, Scene], tuple[TrainState, StepInfo]]


def _ema_decay(config: Config, applied: Int[Array, ""]) -> Float[Array, ""]:
    """The EMA's decay, shorter at first so that the initial parameters are forgotten in a short training too."""
    return jnp.minimum(config.train.ema_decay, (1.0 + applied) / (10.0 + applied))


def make_step(config: Config, network: Network, optimizer: optax.GradientTransformation) -> Step:
    """The step of a configuration, to be jitted by the caller.

    With ``checks.finite`` it holds chex value assertions and must run under `risjax.checks.chexified`: the
    upcast labels and predictions, the loss, every term and, after the skip, the new state are finite; so is
    the gradient, except in float16, where an overflow is the loss scale's business.
    """
    schedule = make_schedule(config.train)
    is_float16 = config.precision.compute == "float16"

    def scaled_loss(params: Params, state: TrainState, batch: Scene) -> tuple[Any, Loss]:
        inputs = jax.vmap(lambda observation: make_inputs(observation, config.model))(batch.observation)
        prediction = network.apply(params, inputs.features)
        labels = make_labels(batch, inputs.sample)
        loss = total_loss(prediction, labels, config.loss, config.covariance, config.precision)
        if config.checks.finite:
            check_finite(upcast(labels), name="labels")
            check_finite(upcast(prediction), name="prediction")
            check_finite(loss.terms, name="loss term ")
            check_finite(loss.total, name="loss")
        return state.loss_scale.scale(loss.total), loss

    def step(state: TrainState, batch: Scene) -> tuple[TrainState, StepInfo]:
        gradient, loss = jax.grad(scaled_loss, has_aux=True)(state.params, state, batch)
        gradient = state.loss_scale.unscale(gradient)
        finite = all_finite(gradient)
        if config.checks.finite and not is_float16:
            check_finite(gradient, name="gradient")

        applied = schedule_count(state.opt_state)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = optax.incremental_update(params, state.ema, 1.0 - _ema_decay(config, applied))
        kept = (state.params, state.opt_state, state.ema)
        params, opt_state, ema = select_tree(finite, (params, opt_state, ema), kept)
        if config.checks.finite:
            check_finite(params, name="params")
            check_finite(opt_state, name="opt_state")
            check_finite(ema, name="ema")

        skip = jnp.where(finite, 0, 1).astype(jnp.int32)
        new = TrainState(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            ema=ema,
            loss_scale=state.loss_scale.adjust(finite),
            skipped=state.skipped + skip,
            skipped_in_a_row=(state.skipped_in_a_row + 1) * skip,
        )
        info = StepInfo(
            loss=loss.total,
            terms={name: jnp.mean(values) for name, values in loss.terms.items()},
            grad_norm_backbone=optax.global_norm(gradient["encoder"]),
            grad_norm_head=optax.global_norm(gradient["head"]),
            update_norm=optax.global_norm(jax.tree.map(jnp.subtract, params, state.params)),
            param_norm=optax.global_norm(params),
            finite=finite,
            loss_scale=state.loss_scale.value,
            learning_rate=jnp.asarray(schedule(applied), jnp.float32),
            skipped=new.skipped,
            skipped_in_a_row=new.skipped_in_a_row,
            scene_finite={name: jnp.isfinite(values) for name, values in loss.terms.items()},
        )
        return new, info

    return step
