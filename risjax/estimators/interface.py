"""Signatures of the estimators, and decorators that give them to functions of the data and of a `Search`."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from jaxtyping import Array, Int

from risjax.config import EstimatorConfig, GridConfig, PhysicsConfig
from risjax.linalg import LowRankCovariance
from risjax.physics.scaling import normalise_scene, restore_estimates
from risjax.spectral.grid import Grid, grid_like
from risjax.types import Estimates, Geometry, Observation

Function = TypeVar("Function", bound=Callable[..., Estimates])

Count = Int[Array, ""] | int | None


class NotApplicableError(ValueError):
    """An estimator cannot be used with this surface, covariance or setting; raised at trace time.

    An evaluation leaves the method out and prints the message.
    """


class Search(NamedTuple):
    """Everything that an estimator uses besides its data.

    Attributes:
        physics: array, field of view, slots. Noise level and number of sources are not used.
        estimator: the settings.
        num_sources: K if it is known; None to estimate it.
        grid: the search grid on the scene's own surface.
        geometry: measured geometry of that surface; None is the nominal one.
    """

    physics: PhysicsConfig
    estimator: EstimatorConfig
    num_sources: Count
    grid: Grid
    geometry: Geometry | None


@runtime_checkable
class SnapshotEstimator(Protocol):
    """An estimator that reads the snapshots of one scene; batch by vmap."""

    def __call__(
        self,
        observation: Observation,
        physics: PhysicsConfig,
        estimator: EstimatorConfig,
        num_sources: Count = None,
        *,
        grid: Grid | None = None,
    ) -> Estimates:
        """Return the sources of one scene.

        Args:
            observation: snapshots, channel and codes.
            physics: array, field of view, slots. Noise level and number of sources are not used.
            estimator: the settings, its own among them.
            num_sources: K if it is known; None estimates it.
            grid: search grid; None computes that of the settings. As an argument of a jitted caller, its steering
                vectors are not constants of the compiled program.

        Returns:
            K_max slots, strongest source first; the documentation of each estimator defines ``amplitude``, ``std`` and
            ``score``. A scene whose snapshots contain NaN or only zeros has no active source.

        Raises:
            NotApplicableError: at trace time; the estimator cannot be used.
            ValueError: at trace time, for a grid of another surface, and where the method needs constant symbols.
        """
        ...


@runtime_checkable
class CovarianceEstimator(Protocol):
    """An estimator that reads a covariance of one scene; batch by vmap."""

    def __call__(
        self,
        covariance: LowRankCovariance,
        physics: PhysicsConfig,
        estimator: EstimatorConfig,
        num_sources: Count = None,
        *,
        grid: Grid | None = None,
        geometry: Geometry | None = None,
    ) -> Estimates:
        """Return the sources of one scene, computed in the covariance's dtype.

        Args:
            covariance: R = F F^H + delta I, delta > 0.
            physics: array, field of view, slots.
            estimator: grid, threshold, refinement.
            num_sources: K if it is known; None estimates it.
            grid: search grid; None computes that of the settings.
            geometry: ``observation.geometry``; None is the nominal surface.

        Returns:
            K_max slots, highest peak first; ``std`` is inf. A covariance that is not finite gives no active source.

        Raises:
            NotApplicableError: at trace time; the estimator cannot be used.
            ValueError: at trace time, for a grid of another surface.
        """
        ...


def snapshot_estimator(
    points: Callable[[EstimatorConfig], GridConfig],
) -> Callable[[Callable[[Observation, Search], Estimates]], SnapshotEstimator]:
    """Decorator that makes a `SnapshotEstimator` of a function of a normalised scene (`risjax.physics.scaling`).

    Args:
        points: selects the search grid from the estimator's settings.
    """

    def decorate(localise: Callable[[Observation, Search], Estimates]) -> SnapshotEstimator:
        def estimate(
            observation: Observation,
            physics: PhysicsConfig,
            estimator: EstimatorConfig,
            num_sources: Count = None,
            *,
            grid: Grid | None = None,
        ) -> Estimates:
            geometry = observation.geometry
            unit, scale = normalise_scene(observation)
            grid = grid_like(unit.snapshots, physics, points(estimator), grid, geometry)
            found = localise(unit, Search(physics, estimator, num_sources, grid, geometry))
            return restore_estimates(found, scale)

        return _named(estimate, localise)

    return decorate


def covariance_estimator(localise: Callable[[LowRankCovariance, Search], Estimates]) -> CovarianceEstimator:
    """Decorator that makes a `CovarianceEstimator` of a function of a covariance, with the grid ``estimator.grid``."""

    def estimate(
        covariance: LowRankCovariance,
        physics: PhysicsConfig,
        estimator: EstimatorConfig,
        num_sources: Count = None,
        *,
        grid: Grid | None = None,
        geometry: Geometry | None = None,
    ) -> Estimates:
        grid = grid_like(covariance.factor, physics, estimator.grid, grid, geometry)
        return localise(covariance, Search(physics, estimator, num_sources, grid, geometry))

    return _named(estimate, localise)


def _named(function: Function, like: Callable[..., Estimates]) -> Function:
    """Return the function with the name and the documentation of another one."""
    function.__name__, function.__qualname__ = like.__name__, like.__qualname__
    function.__module__, function.__doc__ = like.__module__, like.__doc__
    return function
