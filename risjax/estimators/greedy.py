"""Greedy maximum likelihood: forward selection, with the number of sources from the residuals."""

import jax
import jax.numpy as jnp

from risjax.estimators.cfar import stopping_penalty
from risjax.estimators.fit import estimates_from_fit, keep_if
from risjax.estimators.forward_selection import count_by_residual, greedy_path
from risjax.estimators.interface import Search, snapshot_estimator
from risjax.estimators.likelihood import statistics
from risjax.types import Estimates, Observation


@snapshot_estimator(lambda estimator: estimator.greedy.grid)
def localise_greedy(observation: Observation, search: Search) -> Estimates:
    """Greedy maximum likelihood on the snapshots of one scene, a `SnapshotEstimator`.

    The number of sources follows from the residuals. Amplitudes and standard deviations are those of the fit; ``score``
    as in `risjax.estimators.fit.estimates_from_fit`.
    """
    physics, estimator, num_sources, grid, _ = search
    data = statistics(observation, physics)
    path = greedy_path(data, physics, estimator, grid)
    count = count_by_residual(path.residuals, data.num_measurements, stopping_penalty(physics, estimator))
    count = count if num_sources is None else jnp.minimum(num_sources, path.residuals.shape[0] - 1)
    fit = jax.tree.map(lambda leaf: leaf[jnp.maximum(count - 1, 0)], path.fits)
    return estimates_from_fit(keep_if(fit, (count > 0) & (data.energy > 0) & jnp.isfinite(data.energy)), data)
