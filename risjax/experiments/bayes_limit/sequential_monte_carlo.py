"""Samples of the posterior of one scene, by sequential Monte Carlo from the prior to the posterior.

Particles start from the prior of the simulator, which includes the number of sources. Their target is the prior times
the likelihood to the power of an inverse temperature, which rises from 0 to 1 in adaptive steps. At each step the
particles are weighted, resampled and moved. Many independent starts are needed because the posterior has many modes;
two independent runs that agree show that there were enough particles.

References:
    P. Del Moral, A. Doucet, A. Jasra, "Sequential Monte Carlo samplers", Journal of the Royal Statistical Society B 68
    (2006), doi:10.1111/j.1467-9868.2006.00553.x.
    A. Jasra, D. A. Stephens, A. Doucet, T. Tsagaris, "Inference for Lévy-driven stochastic volatility models via
    adaptive sequential Monte Carlo", Scandinavian Journal of Statistics 38 (2011),
    doi:10.1111/j.1467-9469.2010.00723.x.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from risjax.config import PhysicsConfig
from risjax.config.limit import LimitConfig
from risjax.estimators.likelihood import SufficientStatistics, statistics
from risjax.experiments.bayes_limit.moves import State, Target, move_scale, move_sources, signal_power
from risjax.experiments.bayes_limit.prior import (
    Bounds,
    amplitude_variance,
    bounds,
    draw_coordinates,
    draw_count,
    to_polar,
)
from risjax.experiments.bayes_limit.proposal_density import bright_places
from risjax.experiments.bayes_limit.tempered_likelihood import all_products, log_likelihood, unit_power
from risjax.physics.array import steering
from risjax.physics.distributions import complex_normal
from risjax.physics.scaling import normalise_scene
from risjax.types import Geometry, Observation

_MAX_TEMPERATURES = 200
_BISECTIONS = 30
_PHASE_CURVATURE = 100.0
"""Variance of a steering vector's phase across 12 x 12 elements at half a wavelength, per (rad of angle)^2; it scales a
walk's smallest step, nothing more."""


class Samples(NamedTuple):
    """Equally weighted draws from the posterior, and how the run went.

    Attributes:
        position: (azimuth [rad], elevation [rad], range [m]), [P, K, 3].
        active: [P, K].
        log_evidence: estimate of log p(y) up to a constant of the scene, [].
        temperatures: how many were needed, []; the run failed if it reached `_MAX_TEMPERATURES` below t = 1.
        reached: last inverse temperature, 1 unless the run failed, [].
        ancestors: different ancestors of the prior that the final particles descend from, [].
        acceptance: share of source moves accepted at t = 1, [].
    """

    position: Float[Array, "*batch P K 3"]
    active: Bool[Array, "*batch P K"]
    log_evidence: Float[Array, "*batch"]
    temperatures: Int[Array, "*batch"]
    reached: Float[Array, "*batch"]
    ancestors: Int[Array, "*batch"]
    acceptance: Float[Array, "*batch"]


class _Run(NamedTuple):
    particles: State
    ancestor: Int[Array, " P"]
    inverse_temperature: Float[Array, ""]
    log_evidence: Float[Array, ""]
    round: Int[Array, ""]


def sample_posterior(
    key: Key[Array, ""], observation: Observation, physics: PhysicsConfig, settings: LimitConfig
) -> Samples:
    """Draw from p(sources, number of sources | snapshots) under the distributions of the simulator.

    The only data are the observation of one scene; its particles are the batch.

    Args:
        key: of this run.
        observation: one scene.
        physics: the law of the scenes; ``require_sampled_laws`` checks that they are supported.
        settings: particles, moves, resampling.
    """
    limits, geometry = bounds(physics.scene), observation.geometry
    unit, units = normalise_scene(observation)
    data, log_scale = unit_power(statistics(unit, physics))
    log_scale = log_scale + math.log(2) * units.exponent  # of the amplitudes in the scene's own units, as is the prior
    places = bright_places(data, limits, physics, geometry)
    log_gain = jnp.asarray(limits.log_gain) - log_scale
    start_key, run_key, last_key = jax.random.split(key, 3)
    particles = jax.vmap(lambda key: _draw_prior(key, physics, limits, geometry, log_gain, data))(
        jax.random.split(start_key, settings.particles)
    )

    def target_at(particles: State, inverse_temperature: Float[Array, ""]) -> Target:
        precision = (
            2 * _PHASE_CURVATURE * data.num_measurements * inverse_temperature * jnp.mean(jnp.exp(-particles.log_noise))
        )
        smallest = jnp.clip(0.3 / jnp.sqrt(precision), 1e-5, 0.1)
        return Target(data, places, log_gain, inverse_temperature, smallest)

    def move(
        key: Key[Array, ""], particles: State, inverse_temperature: Array, count: int
    ) -> tuple[State, Float[Array, ""]]:
        target = target_at(particles, inverse_temperature)

        def once(particles: State, key: Key[Array, ""]) -> tuple[State, Float[Array, ""]]:
            def move_particle(key: Key[Array, ""], state: State) -> tuple[State, Bool[Array, ""]]:
                source_key, scale_key = jax.random.split(key)
                state, accepted = move_sources(source_key, state, target, limits, physics, geometry)
                return move_scale(scale_key, state, target, limits, physics)[0], accepted

            moved, accepted = jax.vmap(move_particle)(jax.random.split(key, settings.particles), particles)
            return moved, jnp.mean(accepted)

        moved, accepted = jax.lax.scan(once, particles, jax.random.split(key, count))
        return moved, jnp.mean(accepted)

    def advance(run: _Run) -> _Run:
        resample_key, move_key = jax.random.split(jax.random.fold_in(run_key, run.round))
        logs = jax.vmap(lambda state: log_likelihood(state.products, state.amplitude, state.log_noise, data))(
            run.particles
        )
        step = _next_step(logs, 1 - run.inverse_temperature, settings.kept_share)
        inverse_temperature = jnp.where(step >= 1 - run.inverse_temperature, 1.0, run.inverse_temperature + step)
        chosen = _resample(resample_key, step * logs)
        particles = jax.tree.map(lambda leaf: leaf[chosen], run.particles)
        evidence = run.log_evidence + jax.nn.logsumexp(step * logs) - jnp.log(settings.particles)
        particles, _ = move(move_key, particles, inverse_temperature, settings.moves)
        return _Run(particles, run.ancestor[chosen], inverse_temperature, evidence, run.round + 1)

    zero = jnp.zeros(())
    first = _Run(particles, jnp.arange(settings.particles), zero, zero, jnp.zeros((), int))
    run = jax.lax.while_loop(
        lambda run: (run.inverse_temperature < 1) & (run.round < _MAX_TEMPERATURES), advance, first
    )
    particles, acceptance = move(last_key, run.particles, run.inverse_temperature, settings.last_moves)
    ancestors = jnp.sum(jnp.bincount(run.ancestor, length=settings.particles) > 0)
    return Samples(
        to_polar(particles.q),
        particles.active,
        run.log_evidence,
        run.round,
        run.inverse_temperature,
        ancestors,
        acceptance,
    )


def _draw_prior(
    key: Key[Array, ""],
    physics: PhysicsConfig,
    limits: Bounds,
    geometry: Geometry | None,
    log_gain: Float[Array, "2"],
    data: SufficientStatistics,
) -> State:
    slots = physics.scene.max_sources
    count_key, place_key, gain_key, symbol_key, snr_key = jax.random.split(key, 5)
    active = draw_count(count_key, limits, slots)
    q = jax.vmap(lambda key: draw_coordinates(key, limits))(jax.random.split(place_key, slots))
    vectors = jnp.where(active[:, None], steering(physics.array, to_polar(q), geometry), 0)
    products = all_products(vectors, data)
    gain = log_gain[0] + jax.random.uniform(gain_key) * (log_gain[1] - log_gain[0])
    symbols = complex_normal(symbol_key, (slots,), q.dtype)
    amplitude = jnp.where(active, symbols * jnp.sqrt(amplitude_variance(q, gain, physics)), 0)
    log_snr = limits.log_snr[0] + jax.random.uniform(snr_key) * (limits.log_snr[1] - limits.log_snr[0])
    log_noise = jnp.log(signal_power(products, amplitude, data, limits)) - log_snr
    return State(q, active, amplitude, gain, log_noise, products)


def _next_step(logs: Float[Array, " P"], rest: Float[Array, ""], kept: float) -> Float[Array, ""]:
    """Return the largest step of the inverse temperature that keeps an effective share of the particles.

    By bisection of its logarithm.
    """
    logs = logs - jnp.max(logs)

    def share(step: Array) -> Array:
        weights = jnp.exp(step * logs)
        return jnp.sum(weights) ** 2 / (jnp.sum(weights**2) * logs.shape[0])

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        enough = share(jnp.exp(middle)) >= kept
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    low, _ = jax.lax.fori_loop(0, _BISECTIONS, halve, (jnp.full_like(rest, -35.0), jnp.log(rest)))
    return jnp.where(share(rest) >= kept, rest, jnp.exp(low))


def _resample(key: Key[Array, ""], log_weights: Float[Array, " P"]) -> Int[Array, " P"]:
    """Systematic resampling."""
    count = log_weights.shape[0]
    passed = jnp.cumsum(jax.nn.softmax(log_weights))
    places = (jnp.arange(count) + jax.random.uniform(key)) / count
    return jnp.minimum(jnp.searchsorted(passed, places), count - 1)
