"""One training step, pure: (state, batch) to (state, info).

A step whose gradient is not finite changes neither parameters, optimizer state, schedule nor EMA; it is
counted, and in float16 it halves the loss scale. So that a single degenerate scene cannot cost a float16 training
its batch, the gradient that enters the network is limited scene by scene (`risjax.precision.limit_cotangents`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from risjax.checks import check_finite
from risjax.loss import at_progress, make_labels, total_loss
from risjax.model import Network, Params, make_inputs
from risjax.physics.batches import over_scenes
from risjax.precision import HALF_LIMIT, LossScale, all_finite, limit_cotangents, select_tree, upcast
from risjax.train.mesh import AXIS
from risjax.train.optimizer import learning_rate, make_optimizer, schedule_count
from risjax.train.settings import ProgramKey, Settings
from risjax.train.state import StepInfo, TrainState
from risjax.types import Scene

Step = Callable[[TrainState, Scene, Settings], tuple[TrainState, StepInfo]]


_SEEN = ("labels", "prediction", "loss")
"""What is asserted of a batch, causes first: the first that fails is the one named (and a pytree sorts its keys)."""


class Slope(NamedTuple):
    """What a batch says.

    Attributes:
        gradient: of the scaled loss by the parameters.
        loss: the weighted sum.
        terms: mean of each term over the batch.
        broken: 0 for each of ``labels``, ``prediction`` and ``loss`` that is finite in every scene, else NaN; empty
            without ``checks.finite``.
    """

    gradient: Params
    loss: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]
    broken: dict[str, Float[Array, ""]]


def _ema_decay(settings: Settings, applied: Int[Array, ""]) -> Float[Array, ""]:
    """The EMA's decay, shorter at first so that the initial parameters are forgotten in a short training too."""
    return jnp.minimum(settings.ema_decay, (1.0 + applied) / (10.0 + applied))


def _make_slope(
    key: ProgramKey, network: Network, mesh: Mesh | None
) -> Callable[[Params, LossScale, Scene, Settings], Slope]:
    """The loss of a batch and its gradient; with a mesh, of the shares that its devices hold, summed over them.

    The devices' shares are equal, so that the mean of their means is the batch's. Each divides its own by their number
    before it differentiates: a scene enters with the weight that it has in the whole batch, to float16's limits too.
    """
    shares = 1 if mesh is None else mesh.size

    def scaled_loss(params: Params, scale: LossScale, batch: Scene, settings: Settings) -> tuple[Any, Any]:
        inputs = over_scenes(lambda observation: make_inputs(observation, key.model, key.physics), batch.observation)
        prediction = network.apply(params, inputs.features)
        if key.precision.compute == "float16":
            prediction = limit_cotangents(prediction, HALF_LIMIT / key.batch_size * scale.value)
        labels = make_labels(batch, inputs.sample, physics=key.physics, terms=settings.loss.weights)
        loss = total_loss(prediction, labels, settings.loss, settings.covariance, key.precision)
        seen = {"labels": upcast(labels), "prediction": upcast(prediction), "loss": (loss.total, loss.terms)}
        broken = {name: _nan_unless_finite(tree) for name, tree in seen.items()} if key.checks.finite else {}
        means = {name: jnp.mean(values) for name, values in loss.terms.items()}
        value, terms = (loss.total, means) if shares == 1 else jax.tree.map(lambda x: x / shares, (loss.total, means))
        return scale.scale(value), (value, terms, broken)

    def slope(params: Params, scale: LossScale, batch: Scene, settings: Settings) -> Slope:
        gradient, (loss, terms, broken) = jax.grad(scaled_loss, has_aux=True)(params, scale, batch, settings)
        return Slope(gradient, loss, terms, broken)

    def summed(params: Params, scale: LossScale, batch: Scene, settings: Settings) -> Slope:
        return jax.lax.psum(slope(params, scale, batch, settings), AXIS)

    if mesh is None:
        return slope
    everywhere, shared = PartitionSpec(), PartitionSpec(AXIS)
    # Without the check of what varies from device to device, gradients are each device's own until the sum above.
    return jax.shard_map(
        summed, mesh=mesh, in_specs=(everywhere, everywhere, shared, everywhere), out_specs=everywhere, check_vma=False
    )


def _nan_unless_finite(tree: Any) -> Float[Array, ""]:
    return jnp.where(all_finite(tree), 0.0, jnp.nan)


def make_step(key: ProgramKey, network: Network, mesh: Mesh | None = None) -> Step:
    """The step of a program, to be jitted by the caller.

    With ``checks.finite`` it holds chex value assertions and must run under `risjax.checks.chexified`: the
    upcast labels and predictions, the loss, every term and, after the skip, the new state are finite; so is
    the gradient, except in float16, where an overflow is the loss scale's business.

    Args:
        key: the program.
        network: its network.
        mesh: the devices that share the batch; None for one. The state is on all of them.
    """
    is_float16 = key.precision.compute == "float16"
    slope_of = _make_slope(key, network, mesh)

    def step(state: TrainState, batch: Scene, settings: Settings) -> tuple[TrainState, StepInfo]:
        applied = schedule_count(state.opt_state)
        progress = applied.astype(settings.learning_rate.dtype) / settings.total_steps
        loss = at_progress(settings.loss, progress)
        slope = slope_of(state.params, state.loss_scale, batch, settings._replace(loss=loss))
        for name in _SEEN if slope.broken else ():
            check_finite(slope.broken[name], name=name)
        gradient = state.loss_scale.unscale(slope.gradient)
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
            loss=slope.loss,
            terms=slope.terms,
            weights=cast(Mapping[str, Array], loss.weights),
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
