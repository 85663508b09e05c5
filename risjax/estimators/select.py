"""Backward elimination: the candidates of another method that the snapshots support.

All candidates are fitted together. The one whose removal increases the residual least is removed and the rest are
fitted again, until none is left. `count_by_residual` chooses among these fits. Forward selection
(`risjax.estimators.greedy`) adds sources instead and needs no candidates.
"""

import jax
import jax.numpy as jnp

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.estimators.cfar import stopping_penalty
from risjax.estimators.fit import Fit, estimates_from_fit, keep_if
from risjax.estimators.forward_selection import count_by_residual
from risjax.estimators.interface import Count, Search, snapshot_estimator
from risjax.estimators.joint_ml import maximise
from risjax.estimators.likelihood import statistics
from risjax.estimators.omp import localise_omp
from risjax.physics.scaling import in_normalised_units
from risjax.spectral.grid import to_cosines
from risjax.types import Estimates, Observation


@in_normalised_units
def select_and_polish(
    observation: Observation,
    candidates: Estimates,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    num_sources: Count = None,
) -> Estimates:
    """Candidates that the likelihood supports, refined jointly on the snapshots, one scene.

    Args:
        observation: snapshots, channel and codes.
        candidates: estimates of any method, preferably too many; ``position`` and ``active`` are used.
        physics: array and field of view.
        estimator: ``greedy.iterations``, ``greedy.penalty``.
        num_sources: K if it is known, at most the number of candidates; None estimates it from the residuals.

    Returns:
        As from `risjax.estimators.polish`.
    """
    data = statistics(observation, physics)
    slots = candidates.active.shape[0]
    position = jnp.where(candidates.active[:, None], candidates.position, 1.0).astype(data.energy.dtype)
    iterations = estimator.greedy.iterations

    def body(state: tuple, _: None) -> tuple[tuple, Fit]:
        fit = maximise(data, physics, *state, iterations=iterations)
        weakest = jnp.argmin(jnp.where(fit.active, fit.contribution, jnp.inf))
        return (fit.cosines, fit.active & (jnp.arange(slots) != weakest)), fit

    _, fits = jax.lax.scan(body, (to_cosines(position), candidates.active), None, length=slots)
    counts = jnp.sum(fits.active, axis=1)
    residuals = jnp.full(slots + 1, data.energy).at[counts].min(fits.residual)
    count = count_by_residual(residuals, data.num_measurements, stopping_penalty(physics, estimator))
    count = count if num_sources is None else num_sources
    count = jnp.minimum(count, counts[0])
    fit = jax.tree.map(lambda leaf: leaf[jnp.argmax(counts == count)], fits)
    return estimates_from_fit(keep_if(fit, (count > 0) & jnp.isfinite(data.energy)), data)


@snapshot_estimator(lambda estimator: estimator.greedy.grid)
def localise_omp_ml(observation: Observation, search: Search) -> Estimates:
    """Matching pursuit for all slots, then `select_and_polish`, a `SnapshotEstimator`; result as of `polish`."""
    physics, estimator, num_sources, grid, _ = search
    most = jnp.asarray(physics.scene.max_sources)
    candidates = localise_omp(observation, physics, estimator, most, grid=grid)
    return select_and_polish(observation, candidates, physics, estimator, num_sources)
