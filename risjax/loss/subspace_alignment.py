"""Alignment of a covariance with the true sources' span, both ways.

========= ============================================================================== ======
symbol    meaning                                                                        shape
========= ============================================================================== ======
F         factor of R_pred = F F^H, of trace N                                           [N, r]
a_k       true steering vectors, unit norm: the label factor's columns, normalised       [N]
P         projector onto the span of the a_k                                             [N, N]
leakage   tr((I - P) R_pred) / N, the share of R_pred's power outside the true span      []
missed    delta a_k^H (R_pred + delta I)^-1 a_k, the share of a_k that R_pred does not   [K]
          explain; delta / (p + delta) where R_pred gives the direction a_k the power p
========= ============================================================================== ======

Leakage alone would be perfect for one direction of the span that takes all the power. `missed` is what that collapse
costs: every true source is asked for by itself, and counts alike however weak it is. Neither looks at an eigenvector
of R_pred, so that no eigenvalue of it can come too near to another.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.linalg import inverse_quadratic_form, normalise_trace, orthonormal_basis
from risjax.types import LowRankCovariance


def subspace_alignment(
    predicted: Complex[Array, "N rank"], label: Complex[Array, "N K"], loading: Float[Array, ""] | float
) -> Float[Array, ""]:
    """leakage + mean over sources of missed, of the module's table; in [0, 2].

    Near 0 for a prediction that has all its power in the true span and some of it along every source; 2 for one
    outside the span. A prediction of zeros leaks nothing and misses everything: 1, with a finite gradient.

    Args:
        predicted: F, of any scale.
        label: B of the label covariance, of any scale; columns of zeros are no sources.
        loading: delta > 0.
    """
    factor = normalise_trace(predicted)
    label = jax.lax.stop_gradient(normalise_trace(label))
    leakage = _energy_outside(factor, orthonormal_basis(label).vectors) / factor.shape[0]

    energy = jnp.sum(label.real**2 + label.imag**2, axis=0)
    active = energy > 0
    unit = label / jnp.sqrt(jnp.where(active, energy, 1.0))[None, :]
    loaded = LowRankCovariance(factor, jnp.asarray(loading, energy.dtype))
    missed = loaded.loading * inverse_quadratic_form(loaded, unit.T)
    return leakage + jnp.sum(jnp.where(active, missed, 0.0)) / jnp.maximum(jnp.sum(active), 1)


def _energy_outside(factor: Array, basis: Array) -> Array:
    """||(I - Q Q^H) F||^2; never negative, as 1 - ||Q^H F||^2 would be by rounding."""
    outside = factor - basis @ (basis.conj().T @ factor)  # at the precision that `total_loss` states
    return jnp.sum(outside.real**2 + outside.imag**2)
