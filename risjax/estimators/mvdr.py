"""MVDR and Bartlett beamformers: peaks of their spectra, refined off the grid.

References:
    J. Capon, "High-resolution frequency-wavenumber spectrum analysis", Proceedings of the IEEE 57 (1969),
    doi:10.1109/PROC.1969.7278.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.linalg import LowRankCovariance
from risjax.spectral.grid import Grid, grid_like
from risjax.spectral.peak_search import Cost, Peaks, find_peaks, search_cost
from risjax.spectral.spectrum import bartlett_spectrum, mvdr_cost, whitener
from risjax.types import Estimates, Geometry


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

    Computes in the covariance's dtype; float32 is sufficient (see `risjax.spectral.spectrum`).

    Args:
        covariance: R = F F^H + delta I, delta > 0.
        physics: array, field of view, slots (``scene.max_sources``).
        estimator: grid, threshold, refinement.
        num_sources: K if it is known; None keeps peaks within ``threshold_db`` of the highest.
        grid: search grid; None computes that of the configuration. As an argument of a jitted caller, its steering
            vectors are not constants of the compiled program.
        geometry: ``observation.geometry``; None is the nominal surface.

    Returns:
        K_max slots, highest first. ``amplitude`` is the root of the beamformer's output power, in units of the
        covariance, without a phase; ``std`` is inf; ``score`` is the level of the peak relative to the highest one in
        dB. A covariance that is not finite, or singular without loading, gives no active source.
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
) -> Peaks:
    """Peaks from which `localise_mvdr` chooses, in ``estimator.candidates`` slots.

    Args:
        covariance: as in `localise_mvdr`, like the following four.
        physics: array, field of view, slots.
        estimator: grid, threshold, refinement.
        grid: search grid.
        geometry: measured geometry.
    """
    grid = grid_like(covariance.factor, physics, estimator.grid, grid, geometry)
    return find_peaks(*_mvdr(covariance), physics, estimator, grid, geometry)


def _mvdr(covariance: LowRankCovariance) -> tuple[Cost, Callable[[Float[Array, " J"]], Float[Array, " J"]]]:
    """Cost of a steering vector, and height of the spectrum as a function of the cost."""
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
    """Sources at the peaks of a^H R a; arguments and result as in `localise_mvdr`.

    The conventional beamformer cannot resolve sources within a beamwidth. Side lobes of a strong source, 13 dB below
    it, are peaks too, so a larger ``estimator.threshold_db`` without K gives false sources. The side lobes of other
    sources bias its peaks.
    """
    grid = grid_like(covariance.factor, physics, estimator.grid, grid, geometry)
    top = jnp.sum(jnp.abs(covariance.factor) ** 2) + covariance.loading

    def cost(vectors: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
        return -bartlett_spectrum(covariance, vectors) / top

    return search_cost(cost, lambda costs: -costs * top, physics, estimator, num_sources, grid, geometry)
