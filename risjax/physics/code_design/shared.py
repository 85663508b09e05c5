"""One set of codes for a distribution of channels, by gradient steps on new channels each."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Key

from risjax.config import PhysicsConfig
from risjax.physics.code_design.optimise import (
    DesignState,
    ValueOf,
    ascend,
    at_step,
    criterion_of,
    final_codes,
    gram_of,
    last_prior,
)
from risjax.physics.code_design.prior import DesignPrior, design_prior
from risjax.physics.scene import draw_scene

LAST_CHANNELS = 4
"""Channels of the exchange of phases over those of a gradient step."""


def draw_channels(key: Key[Array, ""], physics: PhysicsConfig, count: int) -> Complex[Array, "S M N"]:
    """Channels as receivers of the simulated scenes know them."""
    codebook = physics.codebook.model_copy(update={"kind": "random", "path": None})
    common = physics.model_copy(update={"codebook": codebook})
    return jax.vmap(lambda key: draw_scene(key, common).observation.channel)(jax.random.split(key, count))


def shared_step(
    state: DesignState, key: Key[Array, ""], physics: PhysicsConfig, steps: int, channels: int
) -> tuple[DesignState, Float[Array, ""]]:
    """One of ``steps`` gradient steps on the mean of the criterion over new channels and positions.

    Returns:
        The next state, and the mean before the step.
    """
    channel_key, prior_key = jax.random.split(key)
    prior = at_step(design_prior(prior_key, physics, 1, physics.codebook.design.positions), jnp.asarray(0))
    value_of = _mean_over(draw_channels(channel_key, physics, channels), prior, physics)
    return ascend(state, value_of, physics, steps)


def shared_codes(
    state: DesignState, key: Key[Array, ""], physics: PhysicsConfig, channels: int
) -> Complex[Array, "L N"]:
    """Codes of the bits of the codebook at the end of the steps."""
    channel_key, prior_key = jax.random.split(key)
    drawn = draw_channels(channel_key, physics, LAST_CHANNELS * channels)
    return final_codes(state, _mean_over(drawn, last_prior(prior_key, physics), physics), physics)


def _mean_over(channels: Complex[Array, "S M N"], prior: DesignPrior, physics: PhysicsConfig) -> ValueOf:
    criterion = criterion_of(physics.codebook.design)

    def value_of(codes: Complex[Array, "L N"]) -> Float[Array, ""]:
        # One channel at a time: its matrices fit into the caches of a CPU.
        return jnp.mean(jax.lax.map(lambda channel: criterion(gram_of(channel, codes), prior), channels))

    return value_of
