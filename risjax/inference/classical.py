"""Registered estimators (`risjax.config.methods`) as functions of a batch of scenes."""

from collections.abc import Callable
from operator import attrgetter

import jax
from jaxtyping import Array, Complex, Int

from risjax.config import CovarianceConfig, EstimatorConfig, ModelConfig, PhysicsConfig
from risjax.covariance import sample_covariance
from risjax.estimators import CovarianceEstimator, Grid, SnapshotEstimator, make_grid
from risjax.model import make_inputs
from risjax.physics.chunked_vmap import over_surfaces
from risjax.registry import Estimator, implementation_of
from risjax.types import Estimates, Observation

Counts = Int[Array, " S"] | None


def grid_of(method: Estimator, physics: PhysicsConfig, estimator: EstimatorConfig) -> Grid:
    """Return the search grid of a method. As an argument of a program it is not one of its constants."""
    return make_grid(physics, attrgetter(method.grid)(estimator))


def on_snapshots(
    method: Estimator, physics: PhysicsConfig, estimator: EstimatorConfig
) -> Callable[[Observation, Counts, Grid], Estimates]:
    """Return an estimator of snapshots as a function of a batch, of its numbers of sources (None if unknown) and of a
    `grid_of`.

    Args:
        method: which reads ``snapshots``.
        physics: array, field of view, slots.
        estimator: the settings.
    """
    localise: SnapshotEstimator = implementation_of(method)

    def run(observation: Observation, counts: Counts, grid: Grid) -> Estimates:
        def localise_scene(observation: Observation, count: Int[Array, ""] | None) -> Estimates:
            return localise(observation, physics, estimator, count, grid=grid)

        if method.in_sequence:
            return jax.lax.map(lambda scene: localise_scene(*scene), (observation, counts))
        return over_surfaces(localise_scene, observation.geometry, observation, counts)

    return run


def on_sample(
    method: Estimator,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    model: ModelConfig,
    covariance: CovarianceConfig,
) -> Callable[[Observation, Counts, Grid], tuple[Estimates, Complex[Array, "S N snapshots"]]]:
    """Return an estimator of a covariance as a function of a batch: on the sample covariance, loaded.

    Args:
        method: which reads the ``covariance``.
        physics: array, field of view, slots.
        estimator: the settings; ``sample_threshold_db`` replaces ``threshold_db``.
        model: ``encoder``, whose images make the sample covariance.
        covariance: ``loading``.

    Returns:
        A function of a batch, of its numbers of sources (None if unknown) and of a `grid_of`, to the sources and the
        factors of the sample covariances.
    """
    localise: CovarianceEstimator = implementation_of(method)
    settings = estimator.model_copy(update={"threshold_db": estimator.sample_threshold_db})

    def run(observation: Observation, counts: Counts, grid: Grid) -> tuple[Estimates, Array]:
        def localise_scene(observation: Observation, count: Int[Array, ""] | None) -> tuple[Estimates, Array]:
            factor = make_inputs(observation, model, physics).sample_factor
            sample, geometry = sample_covariance(factor, covariance), observation.geometry
            return localise(sample, physics, settings, count, grid=grid, geometry=geometry), factor

        return over_surfaces(localise_scene, observation.geometry, observation, counts)

    return run
