"""Greedy maximum likelihood: forward selection, with the number of sources from the residuals."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.estimators.cfar import stopping_penalty
from risjax.estimators.forward_selection import count_by_residual, greedy_path
from risjax.estimators.joint_ml import estimates_from_fit, keep_if
from risjax.estimators.likelihood import statistics
from risjax.physics.scaling import in_normalised_units
from risjax.spectral.grid import Grid, grid_like
from risjax.types import Estimates, Observation


@in_normalised_units
def localise_greedy(
    observation: Observation,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    num_sources: Int[Array, ""] | None = None,
    *,
    grid: Grid | None = None,
) -> Estimates:
    """Greedy maximum likelihood on the snapshots of one scene; batch by vmap.

    Args:
        observation: observation of one scene.
        physics: array, field of view, slots. Noise level and number of sources are not used.
        estimator: ``estimator.greedy``.
        num_sources: K if it is known; None estimates it from the residuals.
        grid: search grid of ``estimator.greedy.grid``; None computes it.

    Returns:
        K_max slots, strongest first, with amplitudes and standard deviations; ``score`` as in
        `risjax.estimators.joint_ml.estimates_from_fit`. A scene whose snapshots contain NaN or only zeros has no
        active source.
    """
    grid = grid_like(observation.snapshots, physics, estimator.greedy.grid, grid, observation.geometry)
    data = statistics(observation, physics)
    path = greedy_path(data, physics, estimator, grid)
    count = count_by_residual(path.residuals, data.num_measurements, stopping_penalty(physics, estimator))
    count = count if num_sources is None else jnp.minimum(num_sources, path.residuals.shape[0] - 1)
    fit = jax.tree.map(lambda leaf: leaf[jnp.maximum(count - 1, 0)], path.fits)
    return estimates_from_fit(keep_if(fit, (count > 0) & (data.energy > 0) & jnp.isfinite(data.energy)), data)
