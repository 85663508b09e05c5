"""Moves of one particle that leave posterior^t unchanged: sources walk, jump, are born and die; scale and noise walk.

Every proposal includes amplitudes drawn from their law given the proposed positions, gain and noise. The acceptance
ratio is then one of integrals over the amplitudes (log Z of `risjax.experiments.bayes_limit.tempered_likelihood`); it
is zero if the SNR of the drawn amplitudes and noise is outside the law of scenes. Births and deaths are reversible
jumps: of unordered sources, a birth from the density g at q has the ratio p(q) / g(q) whatever their number.

References:
    P. J. Green, "Reversible jump Markov chain Monte Carlo computation and Bayesian model determination", Biometrika 82
    (1995), doi:10.1093/biomet/82.4.711.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Key

from risjax.config import PhysicsConfig
from risjax.estimators.likelihood import SufficientStatistics
from risjax.experiments.bayes_limit.prior import Bounds, amplitude_variance, log_density, to_polar
from risjax.experiments.bayes_limit.proposal_density import ProposalDensity, draw_place, place_log_density
from risjax.experiments.bayes_limit.tempered_likelihood import (
    Amplitudes,
    Products,
    amplitudes,
    clean_power,
    draw_amplitudes,
    replace_vector,
    transmitted_power,
)
from risjax.physics.array import steering
from risjax.physics.distributions import complex_normal
from risjax.types import Geometry

_CHANCES = (0.55, 0.15, 0.15, 0.15)
"""Probabilities of a walk, a jump, a birth and a death."""
_LARGEST_STEP = 0.5
_RANGE_OVER_ANGLE = 3.0
"""Ratio of steps in inverse range (1/m) and in angle (rad) that change the phases across the surface equally."""


class State(NamedTuple):
    """One particle.

    Attributes:
        q: (azimuth, elevation, inverse range) of every slot, inside the prior's support in inactive ones too, [K, 3].
        active: slots that hold a source, [K].
        amplitude: zero in inactive slots, [K].
        log_gain: logarithm of the amplitude gain over the snapshots' scale, [].
        log_noise: logarithm of the noise variance over the snapshots' power, [].
        products: of the active slots' steering vectors.
    """

    q: Float[Array, "*P K 3"]
    active: Bool[Array, "*P K"]
    amplitude: Complex[Array, "*P K"]
    log_gain: Float[Array, "*P"]
    log_noise: Float[Array, "*P"]
    products: Products


class Target(NamedTuple):
    """Inputs of a move that depend on the scene and not on the particle.

    Attributes:
        data: of the snapshots at unit mean power.
        places: where jumps and births land.
        log_gain: least and greatest log_gain over the snapshots' scale, [2].
        inverse_temperature: t, [].
        smallest_step: of a walk, in rad, [].
    """

    data: SufficientStatistics
    places: ProposalDensity
    log_gain: Float[Array, "2"]
    inverse_temperature: Float[Array, ""]
    smallest_step: Float[Array, ""]


def signal_power(
    products: Products, amplitude: Complex[Array, " K"], data: SufficientStatistics, limits: Bounds
) -> Float[Array, ""]:
    """Signal power of which ``scene.snr_db`` is the ratio to the noise variance."""
    power = clean_power if limits.snr_reference == "received" else transmitted_power
    return power(products, amplitude, data)


def snr_is_possible(state: State, data: SufficientStatistics, limits: Bounds) -> Bool[Array, ""]:
    """Return whether the law of scenes admits the state's SNR."""
    log_snr = jnp.log(signal_power(state.products, state.amplitude, data, limits)) - state.log_noise
    return (log_snr >= limits.log_snr[0]) & (log_snr <= limits.log_snr[1])


def _law(state: State, target: Target, physics: PhysicsConfig) -> Amplitudes:
    variance = amplitude_variance(state.q, state.log_gain, physics)
    return amplitudes(state.products, variance, state.active, state.log_noise, target.inverse_temperature, target.data)


def _accept(
    key: Key[Array, ""],
    state: State,
    proposed: State,
    log_ratio: Float[Array, ""],
    target: Target,
    limits: Bounds,
    physics: PhysicsConfig,
) -> tuple[State, Bool[Array, ""]]:
    """Metropolis and Hastings, the proposed amplitudes drawn here."""
    normal_key, uniform_key = jax.random.split(key)
    law = _law(proposed, target, physics)
    normal = complex_normal(normal_key, proposed.active.shape, proposed.q.dtype)
    proposed = proposed._replace(amplitude=draw_amplitudes(law, normal, proposed.active))
    log_ratio = log_ratio + law.log_evidence - _law(state, target, physics).log_evidence
    threshold = jnp.log(jax.random.uniform(uniform_key, minval=1e-12))
    accepted = (threshold < log_ratio) & snr_is_possible(proposed, target.data, limits)
    return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposed, state), accepted


def _one_of(key: Key[Array, ""], mask: Bool[Array, " K"]) -> Array:
    """The index of a slot of the mask, uniform; any slot where there is none."""
    return jnp.argmax(jnp.where(mask, jax.random.uniform(key, mask.shape), -1.0))


def move_sources(
    key: Key[Array, ""],
    state: State,
    target: Target,
    limits: Bounds,
    physics: PhysicsConfig,
    geometry: Geometry | None,
) -> tuple[State, Bool[Array, ""]]:
    """One walk, jump, birth or death, and whether it was accepted."""
    kind_key, slot_key, walk_key, place_key, accept_key = jax.random.split(key, 5)
    kind = jnp.searchsorted(jnp.cumsum(jnp.asarray(_CHANCES)), jax.random.uniform(kind_key))
    walks, jumps, born, dies = (kind == index for index in range(4))
    slot = _one_of(slot_key, state.active ^ born)
    old = state.q[slot]
    walked = _walk(walk_key, old, target.smallest_step)
    landed = draw_place(place_key, target.places, limits)
    new = jnp.where(walks, walked, jnp.where(dies, old, landed))
    count = jnp.sum(state.active) + jnp.where(born, 1, 0) - jnp.where(dies, 1, 0)
    least, most = limits.num_sources
    possible = (count >= least) & (count <= most) & (count <= state.active.shape[0])
    log_old, log_new = log_density(old, limits), log_density(new, limits)
    density_old = place_log_density(old, target.places, limits)
    density_new = place_log_density(new, target.places, limits)
    log_ratio = jnp.where(born, log_new - density_new, log_new - log_old)
    log_ratio = jnp.where(jumps, log_ratio + density_old - density_new, log_ratio)
    log_ratio = jnp.where(dies, density_old - log_old, log_ratio)
    log_ratio = jnp.where(possible & jnp.isfinite(log_new), log_ratio, -jnp.inf)
    new = jnp.where(jnp.isfinite(log_new), new, old)  # outside the field of view no wave need exist
    vector = jnp.where(dies, 0, steering(physics.array, to_polar(new), geometry))
    proposed = state._replace(
        q=state.q.at[slot].set(new),
        active=state.active.at[slot].set(~dies),
        products=replace_vector(state.products, slot, vector, target.data),
    )
    return _accept(accept_key, state, proposed, log_ratio, target, limits, physics)


def _walk(key: Key[Array, ""], q: Float[Array, "3"], smallest: Float[Array, ""]) -> Float[Array, "3"]:
    """A Gaussian step, its size log-uniform from ``smallest`` up, in all coordinates, the angles or the range."""
    size_key, which_key, step_key = jax.random.split(key, 3)
    size = smallest * (_LARGEST_STEP / smallest) ** jax.random.uniform(size_key)
    masks = jnp.asarray([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    mask = masks[jax.random.randint(which_key, (), 0, 3)]
    scale = jnp.asarray([1.0, 1.0, _RANGE_OVER_ANGLE])
    return q + size * mask * scale * jax.random.normal(step_key, (3,))


def move_scale(
    key: Key[Array, ""], state: State, target: Target, limits: Bounds, physics: PhysicsConfig
) -> tuple[State, Bool[Array, ""]]:
    """A Gaussian step of gain and noise, its size log-uniform over a decade and a half."""
    size_key, step_key, which_key, accept_key = jax.random.split(key, 4)
    size = 0.03 * 30.0 ** jax.random.uniform(size_key)
    step = size * jax.random.normal(step_key, (2,))
    mask = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[jax.random.randint(which_key, (), 0, 3)]
    log_gain, log_noise = state.log_gain + step[0] * mask[0], state.log_noise + step[1] * mask[1]
    inside = (log_gain >= target.log_gain[0]) & (log_gain <= target.log_gain[1])
    proposed = state._replace(log_gain=log_gain, log_noise=log_noise)
    log_ratio = jnp.where(inside, 0.0, -jnp.inf)
    return _accept(accept_key, state, proposed, log_ratio, target, limits, physics)
