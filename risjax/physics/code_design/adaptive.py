"""Further codes for a scene that the first snapshots have shown: a design for the posterior of its sources.

The first L_1 codes and their snapshots give a posterior of the sources. The further codes maximise, over draws of that
posterior, the information about the ranges of these sources, and the mutual information of all snapshots and a field
in the field of view, which keeps part of the power for sources that were not detected:

    value(C_2) = 2/r log det(I + rho Phi R_0 Phi^H) - mean_k log(sigma_k^2 + tau^2),    Phi from [C_1; C_2]

sigma_k^2 is the Bayesian Cramér-Rao bound of the range of source k (`risjax.physics.code_design.criteria`), and tau
the error below which more accuracy gains nothing.

Reference:
    F. Sohrabi, Z. Chen, W. Yu, "Deep active learning approach to adaptive beamforming for mmWave initial alignment",
    IEEE Journal on Selected Areas in Communications 39 (2021), arXiv:2012.13607, adapts beams to the posterior of one
    angle.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Key

from risjax.config import PhysicsConfig
from risjax.physics.array import steering
from risjax.physics.code_design.criteria import mutual_information, range_variances
from risjax.physics.code_design.optimise import DesignState, ascend, at_step, final_codes, first_state, gram_of
from risjax.physics.code_design.prior import DesignPrior, design_prior, position_bounds
from risjax.types import Estimates

RANGE_FLOOR_M = 0.3
"""tau."""
_DRAWS = 32
"""Draws of the posterior."""
_AT_ONCE = 4
"""Draws of one gradient step."""


class PosteriorScenes(NamedTuple):
    """Draws of the sources of one scene.

    Attributes:
        columns: steering vectors and their derivatives by azimuth, elevation and range, [S, K, N, 4].
        amplitude: of the steering vectors, over the root of the noise variance, for a channel of ||H||_F^2 = M, [S, K].
        active: [S, K].
    """

    columns: Complex[Array, "S K N 4"]
    amplitude: Complex[Array, "S K"]
    active: Bool[Array, "S K"]


def posterior_scenes(
    key: Key[Array, ""],
    estimates: Estimates,
    channel: Complex[Array, "M N"],
    noise_variance: Float[Array, ""],
    physics: PhysicsConfig,
) -> PosteriorScenes:
    """Draw scenes from the estimates of one scene.

    Each source exists with its probability ``existence`` (1 where that is NaN). Its position is Gaussian with the
    deviations ``std``, limited to the field of view.

    Args:
        key: of the draws.
        estimates: of the first snapshots.
        channel: H.
        noise_variance: of an entry of the snapshots.
        physics: surface and field of view.
    """
    position_key, existence_key = jax.random.split(key)
    low, high = position_bounds(physics)
    slots = estimates.active.shape[0]
    std = jnp.where(jnp.isfinite(estimates.std), estimates.std, (high - low)[None])
    offsets = std[None] * jax.random.normal(position_key, (_DRAWS, slots, 3))
    position = jnp.clip(estimates.position[None] + offsets, low[None, None], high[None, None])
    probability = jnp.where(jnp.isnan(estimates.existence), 1.0, estimates.existence)
    active = estimates.active[None] & (jax.random.uniform(existence_key, (_DRAWS, slots)) < probability[None])

    def vector(point: Float[Array, "3"]) -> Complex[Array, " N"]:
        return steering(physics.array, point)

    def columns(point: Float[Array, "3"]) -> Complex[Array, "N 4"]:
        return jnp.concatenate([vector(point)[:, None], jax.jacfwd(vector)(point)], axis=-1)

    power = jnp.sum(channel.real**2 + channel.imag**2) / channel.shape[0]
    scale = jnp.sqrt(power / jnp.where(noise_variance > 0, noise_variance, 1.0))
    amplitude = jnp.where(active, (estimates.amplitude * scale)[None], 0)
    return PosteriorScenes(jax.vmap(jax.vmap(columns))(position), amplitude, active)


def adapt_codes_to_scene(
    channel: Complex[Array, "M N"],
    first: Complex[Array, "L1 N"],
    scenes: PosteriorScenes,
    physics: PhysicsConfig,
) -> Complex[Array, "L N"]:
    """Further codes for one scene; batch by vmap.

    Args:
        channel: H as the receiver knows it.
        first: codes of the first snapshots.
        scenes: draws of its posterior.
        physics: distribution of the sources, and ``codebook`` with the number L of further codes, bits, seed and
            ``design``.
    """
    settings = physics.codebook.design
    start_key, prior_key = jax.random.split(jax.random.key(physics.codebook.seed))
    prior = at_step(design_prior(prior_key, physics, 1, settings.positions), jnp.asarray(0))
    prior = prior._replace(snr=jnp.ones(1))

    def value_of(codes: Array, scenes: PosteriorScenes) -> Array:
        gram = gram_of(channel, jnp.concatenate([first, codes]))
        return mutual_information(gram, prior) - _mean_log_variance(gram, scenes, prior)

    def advance(state: DesignState, step: Array) -> tuple[DesignState, None]:
        chosen = (step * _AT_ONCE + jnp.arange(_AT_ONCE)) % _DRAWS
        drawn = jax.tree.map(lambda leaf: leaf[chosen], scenes)
        return ascend(state, lambda codes: value_of(codes, drawn), physics, settings.steps)[0], None

    state, _ = jax.lax.scan(advance, first_state(start_key, physics), jnp.arange(settings.steps))
    last = jax.tree.map(lambda leaf: leaf[: 2 * _AT_ONCE], scenes)
    return final_codes(state, lambda codes: value_of(codes, last), physics)


def _mean_log_variance(gram: Complex[Array, "N N"], scenes: PosteriorScenes, prior: DesignPrior) -> Float[Array, ""]:
    """Mean over the active sources of log(sigma^2 + tau^2); zero without sources."""

    def of_scene(scene: PosteriorScenes) -> Float[Array, " K"]:
        flat = jnp.transpose(scene.columns, (1, 2, 0)).reshape(gram.shape[0], -1)
        products = jnp.matmul(flat.conj().T, jnp.matmul(gram, flat, precision="highest"), precision="highest")
        slots = scene.active.shape[0]
        variances = range_variances(products.reshape(4, slots, 4, slots), scene.amplitude, scene.active, prior)[0]
        return jnp.where(scene.active, jnp.log(variances + RANGE_FLOOR_M**2), 0.0)

    return jnp.sum(jax.vmap(of_scene)(scenes)) / jnp.maximum(jnp.sum(scenes.active), 1)
