"""One training step, pure: (state, batch) to (state, info).

A step whose gradient is not finite changes neither parameters, optimizer state, schedule nor EMA; it is counted, and in
float16 it halves the loss scale. In float16 the gradient that enters the network is limited for each scene
(`risjax.precision.limit_cotangents`), so that a single degenerate scene does not invalidate its batch.
"""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from risjax.checks import check_finite
from risjax.model import Network, Params
from risjax.precision import all_finite, select_tree
from risjax.train.loss_and_grad import Scenes, make_loss_and_grad
from risjax.train.optimizer import learning_rate, make_optimizer, schedule_count
from risjax.train.settings import ProgramKey, Settings
from risjax.train.state import StepInfo, TrainState

Step = Callable[[TrainState, Scenes, Settings], tuple[TrainState, StepInfo]]

_CHECKED = ("labels", "prediction", "loss")
"""Checked parts of a batch, causes first: the first that fails is named (a pytree would sort its keys)."""


def _ema_decay(settings: Settings, applied: Int[Array, ""]) -> Float[Array, ""]:
    """Return the EMA's decay, smaller at first so that the initial parameters lose their weight in a short training."""
    return jnp.minimum(settings.ema_decay, (1.0 + applied) / (10.0 + applied))


def make_step(key: ProgramKey, network: Network, mesh: Mesh | None = None, *, draws: bool = False) -> Step:
    """Make the step of a program, to be jitted by the caller.

    The ``accumulation`` parts of a batch make one gradient and one update.

    With ``checks.finite`` it contains chex value assertions and must run under `risjax.checks.chexified`: the upcast
    labels and predictions, the loss, every term and, after the skip, the new state are finite; so is the gradient,
    except in float16, where the loss scale handles an overflow.

    Args:
        key: the program.
        network: its network.
        mesh: the devices that share the batch; None for one. The state is on all of them.
        draws: the step takes its index in the stream instead of its scenes and draws each part's scenes just before
            use, so that memory holds the scenes of one part at a time.
    """
    is_float16 = key.precision.compute == "float16"
    loss_and_grad_of = make_loss_and_grad(key, network, mesh, draws=draws)

    def step(state: TrainState, scenes: Scenes, settings: Settings) -> tuple[TrainState, StepInfo]:
        applied = schedule_count(state.opt_state)
        loss_and_grad = loss_and_grad_of(state.params, state.loss_scale, scenes, settings)
        for name in _CHECKED if loss_and_grad.nonfinite else ():
            check_finite(loss_and_grad.nonfinite[name], name=name)
        gradient = state.loss_scale.unscale(loss_and_grad.gradient)
        finite = all_finite(gradient)
        if key.checks.finite and not is_float16:
            check_finite(gradient, name="gradient")

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
            loss=loss_and_grad.loss,
            terms=loss_and_grad.terms,
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
