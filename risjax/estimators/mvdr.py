"""MVDR: the minimum-variance spectrum of a covariance, its peaks, refined off the grid."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.estimators.grid import Grid, make_grid, to_position
from risjax.estimators.peaks import choose, local_maxima, separate
from risjax.estimators.refine import refine
from risjax.estimators.spectrum import mvdr_cost, whitener
from risjax.physics.array import steering
from risjax.types import Estimates, LowRankCovariance


def localise_mvdr(
    covariance: LowRankCovariance,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    num_sources: Int[Array, ""] | None = None,
    *,
    grid: Grid | None = None,
) -> Estimates:
    """Sources at the peaks of 1 / (a^H R^-1 a), one scene; batch by vmap.

    The spectrum on the grid gives `candidates` local maxima; each is refined by Newton's method on the cost
    a^H R^-1 a, suppressed when a higher one is too close, and kept when it is among the ``num_sources`` highest
    or, blind to K, within ``estimator.threshold_db`` of the scene's highest. Runs in the covariance's dtype;
    float32 suffices (see `risjax.estimators.spectrum`).

    Args:
        covariance: R = F F^H + delta I, delta > 0.
        physics: array, field of view, slots (``scene.max_sources``).
        estimator: grid, threshold, refinement.
        num_sources: K, where the method is told it.
        grid: the search grid; None takes the one of the two configs. Pass it as an argument of a jitted caller
            to keep its steering vectors out of the compiled program.

    Returns:
        K_max slots, highest first. ``amplitude`` is the root of the power that the beamformer lets through, in
        units of the covariance, without a phase; ``std`` is inf; ``score`` is the peak's level in dB below the
        scene's highest (0 is the highest). A covariance that is not finite gives an empty answer.
    """
    grid = make_grid(physics, estimator.grid) if grid is None else grid
    whitening = whitener(covariance)
    peaks, heights = local_maxima(-mvdr_cost(whitening, grid.steering), grid, estimator.candidates)

    def cost(cosines: Float[Array, "3"]) -> Float[Array, ""]:
        return mvdr_cost(whitening, steering(physics.array, to_position(cosines)))

    refined, costs = refine(cost, peaks, physics, estimator.grid, iterations=estimator.refine_iterations)
    heights = jnp.where((heights > -jnp.inf) & jnp.isfinite(costs), covariance.loading / costs, -jnp.inf)
    alive = separate(
        refined,
        heights,
        min_separation=estimator.min_separation,
        min_range_separation=estimator.min_range_separation,
    )
    index, active = choose(
        heights,
        alive,
        num_slots=physics.scene.max_sources,
        threshold_db=estimator.threshold_db,
        num_sources=num_sources,
    )
    return estimates_from_peaks(refined[index], heights[index], active)


def estimates_from_peaks(cosines: Float[Array, "K 3"], powers: Float[Array, " K"], active: Array) -> Estimates:
    """Peaks as `Estimates`: powers to amplitudes and to a score in dB, inactive slots zeroed."""
    powers = jnp.where(active, powers, 0.0)
    highest = jnp.max(powers, initial=jnp.finfo(powers.dtype).tiny)
    position = to_position(jnp.where(active[:, None], cosines, 1.0 / 3.0))
    score = 10.0 * jnp.log10(jnp.maximum(powers / highest, jnp.finfo(powers.dtype).tiny))
    return Estimates(
        position=jnp.where(active[:, None], position, 0.0),
        amplitude=jnp.sqrt(powers).astype(jnp.result_type(powers, jnp.complex64)),
        active=active,
        std=jnp.full_like(position, jnp.inf),
        score=jnp.where(active, score, 0.0),
    )
