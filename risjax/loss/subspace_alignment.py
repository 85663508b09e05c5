"""Alignment of a covariance with the span of the true sources, in both directions.

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

Leakage alone is zero for a covariance with all its power in a single direction of the span. `missed` penalises that
collapse: every true source has the same weight, however weak it is. Neither term uses eigenvectors of R_pred, so the
gradient contains no gaps between its eigenvalues.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.linalg import LowRankCovariance, inverse_quadratic_form, normalise_trace, orthonormal_basis
from risjax.loss.term import Number, TermInputs


def subspace_alignment(
    predicted: Complex[Array, "N rank"], label: Complex[Array, "N K"], loading: Float[Array, ""] | float
) -> Float[Array, ""]:
    """leakage + mean of missed over the sources, as defined in the table of the module; in [0, 2].

    The value is near 0 for a prediction with all its power in the true span and some along every source, and 2 for a
    prediction outside the span. A prediction of zeros has leakage 0 and missed 1, with a finite gradient.

    Args:
        predicted: F, of any scale.
        label: B of the label covariance, of any scale; columns of zeros are empty slots.
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


def alignment_term(scene: TermInputs, numbers: Mapping[str, Number]) -> Float[Array, ""]:
    """`subspace_alignment` of R_pred as a `risjax.loss.Term`."""
    return subspace_alignment(scene.predicted, scene.label.factor, numbers["loading"])


def _energy_outside(factor: Array, basis: Array) -> Array:
    """||(I - Q Q^H) F||^2. Unlike ||F||^2 - ||Q^H F||^2 it cannot become negative by rounding."""
    outside = factor - basis @ (basis.conj().T @ factor)  # in the matmul precision that `total_loss` sets
    return jnp.sum(outside.real**2 + outside.imag**2)
