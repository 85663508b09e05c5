"""Normalised mean-square error of a covariance."""

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.linalg import normalise_trace


def covariance_nmse(
    predicted: Complex[Array, "N rank"],
    label: Complex[Array, "N K"],
    diagonal: Float[Array, ""] | float | None = None,
) -> Float[Array, ""]:
    """||R_pred - R||_F^2 / ||R||_F^2 with R_pred = F F^H and R = B B^H, both of trace N.

    0 for a perfect prediction, 1 for R_pred = 0, and 1 to 2 for an unrelated one of low rank. The
    difference is formed entry by entry: through Gram matrices it would cancel in float32 near 0.

    Args:
        predicted: F, of any scale.
        label: B, of any scale.
        diagonal: weight of the squares on the diagonal, over that of the others, above the line and below it; None
            is 1, without an operation for it.
    """

    def covariance(factor: Array) -> Array:
        factor = normalise_trace(factor)
        return factor @ factor.conj().T  # at the precision that `total_loss` states

    def energy(matrix: Array) -> Array:
        squares = matrix.real**2 + matrix.imag**2
        if diagonal is None:
            return jnp.sum(squares)
        # Two sums of what is there: a difference of the whole and its diagonal could come out negative.
        beside = jnp.where(jnp.eye(len(squares), dtype=bool), 0.0, squares)
        return jnp.sum(beside) + diagonal * jnp.sum(jnp.diagonal(squares))

    target = covariance(label)
    return energy(covariance(predicted) - target) / energy(target)
