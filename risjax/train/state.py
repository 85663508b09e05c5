"""State and report of a training step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from risjax.keys import Purpose, purpose_key
from risjax.model import Network, Params
from risjax.precision import LossScale, make_loss_scale
from risjax.train.optimizer import make_optimizer
from risjax.train.settings import ProgramKey, Settings


class TrainState(NamedTuple):
    """Everything that a resumed run needs to give the numbers of an uninterrupted one.

    Attributes:
        step: number of attempted steps, also the index of the next batch of the stream.
        params: parameters in the policy's parameter dtype.
        opt_state: optax's state; its count increases with applied updates only.
        ema: exponential moving average of ``params``; these parameters are validated and released.
        loss_scale: float16's dynamic loss scale; a constant one otherwise.
        skipped: steps skipped so far, for a gradient that was not finite.
        skipped_in_a_row: steps skipped since the last applied one.
    """

    step: Int[Array, ""]
    params: Params
    opt_state: optax.OptState
    ema: Params
    loss_scale: LossScale
    skipped: Int[Array, ""]
    skipped_in_a_row: Int[Array, ""]


class StepInfo(NamedTuple):
    """Report of one step.

    Attributes:
        loss: the weighted sum.
        terms: mean of each term over the batch, unweighted.
        grad_norm_backbone: norm of the unscaled gradient of the encoder, before clipping.
        grad_norm_head: the same for the head.
        update_norm: norm of the change of the parameters; 0 for a skipped step.
        param_norm: norm of the parameters after the step.
        finite: whether the gradient was finite and the step was applied.
        loss_scale: the scale this step was taken with.
        learning_rate: the rate of this step.
        skipped: steps skipped so far, this one included.
        skipped_in_a_row: steps skipped since the last applied one.
    """

    loss: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]
    grad_norm_backbone: Float[Array, ""]
    grad_norm_head: Float[Array, ""]
    update_norm: Float[Array, ""]
    param_norm: Float[Array, ""]
    finite: Bool[Array, ""]
    loss_scale: Float[Array, ""]
    learning_rate: Float[Array, ""]
    skipped: Int[Array, ""]
    skipped_in_a_row: Int[Array, ""]


def init_state(key: ProgramKey, network: Network, settings: Settings) -> TrainState:
    """Return the state before the first step, which depends on the configuration and its seed only."""
    params = network.init(purpose_key(settings.seed, Purpose.MODEL_INIT))
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        step=zero,
        params=params,
        opt_state=make_optimizer(key.optimizer, settings).init(params),
        ema=jax.tree.map(jnp.copy, params),
        loss_scale=make_loss_scale(key.precision),
        skipped=zero,
        skipped_in_a_row=zero,
    )
