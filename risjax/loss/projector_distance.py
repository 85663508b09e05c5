"""Distance between signal subspaces."""

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.linalg import signal_overlap
from risjax.types import LowRankCovariance


def projector_distance(
    covariance: LowRankCovariance, label: Complex[Array, "N K"], num_sources: Int[Array, ""]
) -> Float[Array, ""]:
    """||P_hat - P||_F^2 / 2K = 1 - tr(P_hat P) / K, in [0, 1].

    P_hat projects onto the K dominant eigenvectors of the covariance, P onto the span of the label's columns,
    both through ``jnp.linalg.eigh`` of the factor's Gram matrix with the gauge-invariant derivative of
    `risjax.linalg`: repeated eigenvalues inside the signal block or the noise block cost nothing.

    Args:
        covariance: whose K dominant eigenvectors are judged, usually R_eff.
        label: B of the label covariance R = B B^H.
        num_sources: K, traced, its own in every scene.
    """
    exact = LowRankCovariance(label, jnp.zeros((), label.real.dtype))
    return 1.0 - signal_overlap(covariance, exact, num_sources) / num_sources
