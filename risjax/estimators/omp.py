"""Orthogonal matching pursuit in the measurement domain: greedy maximum likelihood on grid points."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from risjax.estimators.cfar import stopping_penalty
from risjax.estimators.fit import Fit, estimates_from_fit, keep_if
from risjax.estimators.forward_selection import count_by_residual, empty_fit, gain_on_grid, search_energy
from risjax.estimators.interface import Search, snapshot_estimator
from risjax.estimators.likelihood import linearise, statistics
from risjax.types import Estimates, Observation


@snapshot_estimator(lambda estimator: estimator.greedy.grid)
def localise_omp(observation: Observation, search: Search) -> Estimates:
    """Sources on grid points with the largest decrease of the residual, amplitudes fitted jointly; a
    `SnapshotEstimator`.

    Grid and result are those of `risjax.estimators.localise_greedy`. A source off the grid leaves a
    residual, to which the next source is fitted, so without K too many sources are found at high SNR. Refine the result
    with `risjax.estimators.polish` or `select_and_polish`; ``std`` is meaningful only after that.
    """
    physics, estimator, num_sources, grid, _ = search
    data = statistics(observation, physics)
    energy = search_energy(data, grid.steering)
    points = grid.cosines.reshape(-1, 3)
    slots = physics.scene.max_sources

    def body(fit: Fit, index: Array) -> tuple[Fit, Fit]:
        here = jnp.argmax(gain_on_grid(data, physics, fit, grid, energy))
        cosines, active = fit.cosines.at[index].set(points[here]), fit.active.at[index].set(True)
        there = linearise(data, physics.array, cosines, active)
        fit = Fit(cosines, active, there.amplitude, there.contribution, there.residual, there.gradient, there.curvature)
        return fit, fit

    _, fits = jax.lax.scan(body, empty_fit(data, physics, points.dtype), jnp.arange(slots))
    residuals = jnp.concatenate([data.energy[None], fits.residual])
    count = count_by_residual(residuals, data.num_measurements, stopping_penalty(physics, estimator))
    count = count if num_sources is None else jnp.minimum(num_sources, slots)
    fit = jax.tree.map(lambda leaf: leaf[jnp.maximum(count - 1, 0)], fits)
    return estimates_from_fit(keep_if(fit, (count > 0) & (data.energy > 0) & jnp.isfinite(data.energy)), data)
