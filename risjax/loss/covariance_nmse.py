"""Normalised mean-square error (NMSE) between two covariances."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.linalg import normalise_trace
from risjax.loss.term import Number, TermInputs


def covariance_nmse(predicted: Complex[Array, "N rank"], label: Complex[Array, "N K"]) -> Float[Array, ""]:
    """||R_pred - R||_F^2 / ||R||_F^2 with R_pred = F F^H and R = B B^H, both of trace N.

    The value is 0 for a perfect prediction, 1 for R_pred = 0, and 1 to 2 for an unrelated prediction of low rank. The
    difference is formed entry by entry, because its expansion in Gram matrices cancels in float32 near 0.

    Args:
        predicted: F, of any scale.
        label: B, of any scale.
    """

    def covariance(factor: Array) -> Array:
        factor = normalise_trace(factor)
        return factor @ factor.conj().T  # in the matmul precision that `total_loss` sets

    def energy(matrix: Array) -> Array:
        return jnp.sum(matrix.real**2 + matrix.imag**2)

    target = covariance(label)
    return energy(covariance(predicted) - target) / energy(target)


def covariance_term(scene: TermInputs, numbers: Mapping[str, Number]) -> Float[Array, ""]:
    """`covariance_nmse` of R_pred as a `risjax.loss.Term`."""
    return covariance_nmse(scene.predicted, scene.label.factor)
