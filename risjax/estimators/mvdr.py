"""MVDR and Bartlett beamformers: peaks of their spectra, refined off the grid.

References:
    J. Capon, "High-resolution frequency-wavenumber spectrum analysis", Proceedings of the IEEE 57 (1969),
    doi:10.1109/PROC.1969.7278.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.estimators.interface import Search, covariance_estimator
from risjax.linalg import LowRankCovariance
from risjax.spectral.peak_search import Cost, Peaks, find_peaks, search_cost
from risjax.spectral.spectrum import bartlett_spectrum, mvdr_cost, whitener
from risjax.types import Estimates


@covariance_estimator
def localise_mvdr(covariance: LowRankCovariance, search: Search) -> Estimates:
    """Sources at the peaks of 1 / (a^H R^-1 a), a `CovarianceEstimator`.

    float32 is sufficient (see `risjax.spectral.spectrum`). With unknown K it keeps peaks within ``threshold_db`` of the
    highest. ``amplitude`` is the root of the beamformer's output power, in units of the covariance, without a phase;
    ``score`` is the level of the peak relative to the highest one in dB. A covariance that is singular without loading
    gives no active source.
    """
    return search_cost(*_mvdr(covariance), *search)


def mvdr_peaks(covariance: LowRankCovariance, search: Search) -> Peaks:
    """Peaks from which `localise_mvdr` chooses, in ``estimator.candidates`` slots.

    Args:
        covariance: R of one scene.
        search: its ``num_sources`` is not used.
    """
    return find_peaks(*_mvdr(covariance), search.physics, search.estimator, search.grid, search.geometry)


def _mvdr(covariance: LowRankCovariance) -> tuple[Cost, Callable[[Float[Array, " J"]], Float[Array, " J"]]]:
    """Cost of a steering vector, and height of the spectrum as a function of the cost."""
    whitening = whitener(covariance)

    def cost(vectors: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
        return mvdr_cost(whitening, vectors)

    return cost, lambda costs: covariance.loading / costs


@covariance_estimator
def localise_bartlett(covariance: LowRankCovariance, search: Search) -> Estimates:
    """Sources at the peaks of a^H R a, a `CovarianceEstimator`; result as of `localise_mvdr`.

    The conventional beamformer cannot resolve sources within a beamwidth. Side lobes of a strong source, 13 dB below
    it, are peaks too, so a larger ``estimator.threshold_db`` without K gives false sources. The side lobes of other
    sources bias its peaks.
    """
    top = jnp.sum(jnp.abs(covariance.factor) ** 2) + covariance.loading

    def cost(vectors: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
        return -bartlett_spectrum(covariance, vectors) / top

    return search_cost(cost, lambda costs: -costs * top, *search)
