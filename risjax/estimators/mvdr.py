"""MVDR and Bartlett: beamformers' spectra of a covariance, their peaks, refined off the grid."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.spectral.grid import Grid, grid_like
from risjax.spectral.peak_search import Cost, Peaks, find_peaks, search_cost
from risjax.spectral.spectrum import bartlett_spectrum, mvdr_cost, whitener
from risjax.types import Estimates, Geometry, LowRankCovariance


def localise_mvdr(
    covariance: LowRankCovariance,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    num_sources: Int[Array, ""] | None = None,
    *,
    grid: Grid | None = None,
    geometry: Geometry | None = None,
) -> Estimates:
    """Sources at the peaks of 1 / (a^H R^-1 a), one scene; batch by vmap.

    Runs in the covariance's dtype; float32 suffices (see `risjax.spectral.spectrum`).

    Args:
        covariance: R = F F^H + delta I, delta > 0.
        physics: array, field of view, slots (``scene.max_sources``).
        estimator: grid, threshold, refinement.
        num_sources: K, where the method is told it; None takes what lies within ``threshold_db`` of the highest.
        grid: the search grid; None takes the one of the two configs. Pass it as an argument of a jitted caller
            to keep its steering vectors out of the compiled program.
        geometry: ``observation.geometry``, of the scene's own surface where the receiver knows it.

    Returns:
        K_max slots, highest first. ``amplitude`` is the root of the power that the beamformer lets through, in
        units of the covariance, without a phase; ``std`` is inf; ``score`` is the peak's level in dB below the
        scene's highest (0 is the highest). A covariance that is not finite, or singular for want of loading,
        gives an empty answer.
    """
    grid = grid_like(covariance.factor, physics, estimator.grid, grid, geometry)
    cost, height = _mvdr(covariance)
    return search_cost(cost, height, physics, estimator, num_sources, grid, geometry)


def mvdr_peaks(
    covariance: LowRankCovariance,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    *,
    grid: Grid | None = None,
    geometry: Geometry | None = None,
    ranking: Float[Array, " G"] | None = None,
) -> Peaks:
    """The peaks that `localise_mvdr` chooses from, ``estimator.candidates`` slots; its arguments.

    Args:
        covariance: as there.
        physics: as there.
        estimator: as there.
        grid: as there.
        geometry: as there.
        ranking: a map over the grid, such as the refiner's, whose maxima are looked at in place of the spectrum's.
    """
    grid = grid_like(covariance.factor, physics, estimator.grid, grid, geometry)
    return find_peaks(*_mvdr(covariance), physics, estimator, grid, geometry, ranking)


def _mvdr(covariance: LowRankCovariance) -> tuple[Cost, Callable[[Float[Array, " J"]], Float[Array, " J"]]]:
    """The cost of a steering vector, and the height of the spectrum where it has a cost."""
    whitening = whitener(covariance)

    def cost(vectors: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
        return mvdr_cost(whitening, vectors)

    return cost, lambda costs: covariance.loading / costs


def localise_bartlett(
    covariance: LowRankCovariance,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    num_sources: Int[Array, ""] | None = None,
    *,
    grid: Grid | None = None,
    geometry: Geometry | None = None,
) -> Estimates:
    """Sources at the peaks of a^H R a: arguments and answer as `localise_mvdr`.

    The conventional beamformer resolves nothing within a beam, and a strong source's side lobes (13 dB down) are
    peaks like any other: blind, raise ``estimator.threshold_db`` at your own risk. Its peaks are biased by the
    lobes of the other sources.
    """
    grid = grid_like(covariance.factor, physics, estimator.grid, grid, geometry)
    top = jnp.sum(jnp.abs(covariance.factor) ** 2) + covariance.loading

    def cost(vectors: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
        return -bartlett_spectrum(covariance, vectors) / top

    return search_cost(cost, lambda costs: -costs * top, physics, estimator, num_sources, grid, geometry)
