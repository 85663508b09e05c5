"""Distance between the signal subspaces of a covariance and of its label."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.linalg import LowRankCovariance, signal_overlap
from risjax.loss.term import Number, TermInputs


def projector_distance(
    covariance: LowRankCovariance, label: Complex[Array, "N K"], num_sources: Int[Array, ""]
) -> Float[Array, ""]:
    """||P_hat - P||_F^2 / 2K = 1 - tr(P_hat P) / K, in [0, 1].

    P_hat projects onto the K dominant eigenvectors of the covariance, P onto the span of the label's columns. Both use
    `risjax.linalg.signal_overlap`, whose gradient does not divide by gaps between eigenvalues inside the signal block
    or inside the noise block.

    Args:
        covariance: the covariance whose K dominant eigenvectors are compared, usually R_eff.
        label: B of the label covariance R = B B^H.
        num_sources: K >= 1; may be traced and differ from scene to scene.
    """
    exact = LowRankCovariance(label, jnp.zeros((), label.real.dtype))
    return 1.0 - signal_overlap(covariance, exact, num_sources) / num_sources


def projector_term(scene: TermInputs, numbers: Mapping[str, Number]) -> Float[Array, ""]:
    """`projector_distance` of R_eff as a `risjax.loss.Term`."""
    return projector_distance(scene.effective(), scene.label.factor, scene.label.num_sources)
