"""One training step, pure: (state, batch) to (state, info).

A step whose gradient is not finite changes neither parameters, optimizer state, schedule nor EMA; it is
counted, and in float16 it halves the loss scale. So that a single degenerate scene cannot cost a float16 training
its batch, the gradient that enters the network is limited scene by scene (`risjax.precision.limit_cotangents`).
"""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from risjax.checks import check_finite
from risjax.loss import Loss, make_labels, total_loss
from risjax.model import Network, Params, make_inputs
from risjax.physics.batches import over_scenes
from risjax.precision import HALF_LIMIT, all_finite, limit_cotangents, select_tree, upcast
from risjax.train.optimizer import learning_rate, make_optimizer, schedule_count
from risjax.train.settings import ProgramKey, Settings
from risjax.train.state import StepInfo, TrainState
from risjax.types import Scene

Step = Callable[[TrainState, Scene, Settings], tuple[TrainState, StepInfo]]


def _ema_decay(settings: Settings, applied: Int[Array, ""]) -> Float[Array, ""]:
    """The EMA's decay, shorter at first so that the initial parameters are forgotten in a short training too."""
    return jnp.minimum(settings.ema_decay, (1.0 + applied) / (10.0 + applied))


def make_step(key: ProgramKey, network: Network) -> Step:
    """The step of a program, to be jitted by the caller.

    With ``checks.finite`` it holds chex value assertions and must run under `risjax.checks.chexified`: the
    upcast labels and predictions, the loss, every term and, after the skip, the new state are finite; so is
    the gradient, except in float16, where an overflow is the loss scale's business.
    """
    is_float16 = key.precision.compute == "float16"

    def scaled_loss(params: Params, state: TrainState, batch: Scene, settings: Settings) -> tuple[Any, Loss]:
        inputs = over_scenes(lambda observation: make_inputs(observation, key.model), batch.observation)
        prediction = network.apply(params, inputs.features)
        if is_float16:
            prediction = limit_cotangents(prediction, HALF_LIMIT / key.batch_size * state.loss_scale.value)
        labels = make_labels(batch, inputs.sample)
        loss = total_loss(prediction, labels, settings.loss_weights, settings.covariance, key.precision)
        if key.checks.finite:
            check_finite(upcast(labels), name="labels")
            check_finite(upcast(prediction), name="prediction")
            check_finite((loss.total, loss.terms), name="loss")
        return state.loss_scale.scale(loss.total), loss

    def step(state: TrainState, batch: Scene, settings: Settings) -> tuple[TrainState, StepInfo]:
        gradient, loss = jax.grad(scaled_loss, has_aux=True)(state.params, state, batch, settings)
        gradient = state.loss_scale.unscale(gradient)
        finite = all_finite(gradient)
        if key.checks.finite and not is_float16:
            check_finite(gradient, name="gradient")

        applied = schedule_count(state.opt_state)
        updates, opt_state = make_optimizer(key.optimizer, settings).update(gradient, state.opt_state, state.params)
        params = cast(Params, optax.apply_updates(state.params, updates))
        ema = cast(Params, optax.incremental_update(params, state.ema, 1.0 - _ema_decay(settings, applied)))
        kept = (state.params, state.opt_state, state.ema)
        params, opt_state, ema = select_tree(finite, (params, opt_state, ema), kept)
        if key.checks.finite:
            check_finite({"params": params, "opt_state": opt_state, "ema": ema}, name="state")

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
            grad_norm_backbone=optax.tree.norm(gradient["encoder"]),
            grad_norm_head=optax.tree.norm(gradient["head"]),
            update_norm=optax.tree.norm(jax.tree.map(jnp.subtract, params, state.params)),
            param_norm=optax.tree.norm(params),
            finite=finite,
            loss_scale=state.loss_scale.value,
            learning_rate=learning_rate(settings, applied),
            skipped=new.skipped,
            skipped_in_a_row=new.skipped_in_a_row,
        )
        return new, info

    return step
