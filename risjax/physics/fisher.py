"""Inverse of a Fisher information matrix from the Jacobian of the whitened mean.

====== ===================================================================== ======
symbol meaning                                                               shape
====== ===================================================================== ======
J      Jacobian of the observed quantities by the parameters, noise variance [Q, P]
       1; the Fisher information is J^T J
s_i    norm of column i of J                                                 [P]
B      J with columns of unit norm, J = B diag(s)                            [Q, P]
C      (B^T B)^-1, so that the covariance bound is C_ij / (s_i s_j)          [P, P]
====== ===================================================================== ======

C comes from the triangular factor of B = Q R. The information matrix itself is never formed, because that would square
the condition number.

An error of size e in every column of B changes the standard deviation of parameter i by the relative amount
e ||C e_i|| / sqrt(C_ii), to first order. Where that estimate exceeds 1 %, rounding decides the result, and the
parameter counts as unresolved. Information that is exactly zero is the extreme case.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

MAX_RELATIVE_ERROR = 0.01
"""Largest estimated relative error of a standard deviation that counts as resolved."""

_COLUMN_ERROR_EPS = 8.0
"""Error e of a column of B in units of the dtype's eps: a wavefront's phase of some 20 rad is rounded to 10 eps."""


class InverseInformation(NamedTuple):
    """Covariance bound of P parameters, (J^T J)^-1 = diag(1/s) C diag(1/s).

    Attributes:
        unit_covariance: C, [P, P]; of unused parameters the identity.
        scale: s, [P]; 1 where unused.
        is_resolved: parameters whose bound is finite and right to `MAX_RELATIVE_ERROR`, [P].
    """

    unit_covariance: Float[Array, "P P"]
    scale: Float[Array, " P"]
    is_resolved: Bool[Array, " P"]

    @property
    def std(self) -> Float[Array, " P"]:
        """Root of the bound on each parameter's variance, [P]; inf where it is not resolved, with zero gradient."""
        variance = jnp.where(self.is_resolved, jnp.diagonal(self.unit_covariance), 1)
        return jnp.where(self.is_resolved, jnp.sqrt(variance) / self.scale, jnp.inf)

    @property
    def covariance(self) -> Float[Array, "P P"]:
        """Bound on the covariance, [P, P]; zero in rows and columns of parameters that are not resolved."""
        inverse_scale = jnp.where(self.is_resolved, 1 / self.scale, 0)
        return self.unit_covariance * inverse_scale[:, None] * inverse_scale[None, :]


def inverse_information(jacobian: Float[Array, "Q P"]) -> InverseInformation:
    """Inverse of J^T J where J determines it; a column of zeros is a parameter without information.

    Differentiable in J, with finite derivatives of the resolved parameters at any rank.

    Args:
        jacobian: J, [Q, P], float32 or float64; Q may be smaller than P.
    """
    peak = jax.lax.stop_gradient(jnp.max(jnp.abs(jacobian), axis=0))
    is_used = peak != 0  # a NaN counts as used, so that it reaches the result
    peak = jnp.where(is_used, peak, 1)
    scaled = jacobian / peak[None, :]
    norm = jnp.sqrt(jnp.where(is_used, jnp.sum(scaled**2, axis=0), 1))
    # The loading gives a matrix without full rank a finite inverse; it is far below what counts as resolved.
    loading = jnp.where(is_used, float(jnp.finfo(jacobian.dtype).eps), 1)
    covariance = _inverse_gram(scaled / norm[None, :], loading)
    variance = jnp.diagonal(covariance)
    error = jnp.sqrt(jnp.sum(covariance**2, axis=0) / variance)
    tolerance = MAX_RELATIVE_ERROR / (_COLUMN_ERROR_EPS * float(jnp.finfo(jacobian.dtype).eps))
    is_resolved = is_used & ~(jax.lax.stop_gradient(error) > tolerance)
    return InverseInformation(covariance, jnp.where(is_used, peak * norm, 1), is_resolved)


@jax.custom_jvp
def _inverse_gram(unit: Float[Array, "Q P"], loading: Float[Array, " P"]) -> Float[Array, "P P"]:
    """(B^T B + diag(loading)^2)^-1, from the QR factorisation of B above diag(loading)."""
    return _pseudo_inverse(unit, loading)[0]


@_inverse_gram.defjvp
def _inverse_gram_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    inverse, pseudo_inverse = _pseudo_inverse(*primals)
    change = jnp.matmul(jnp.matmul(pseudo_inverse, tangents[0], precision="highest"), inverse, precision="highest")
    return inverse, -(change + change.T)


def _pseudo_inverse(unit: Array, loading: Array) -> tuple[Array, Array]:
    """((B^T B + diag(loading)^2)^-1, its product with B^T)."""
    orthonormal, upper = jnp.linalg.qr(jnp.concatenate([unit, jnp.diag(loading)]))
    identity = jnp.eye(unit.shape[1], dtype=unit.dtype)
    half = jax.lax.linalg.triangular_solve(upper, identity, left_side=True, lower=False)
    inverse = jnp.matmul(half, half.T, precision="highest")
    return inverse, jnp.matmul(half, orthonormal[: unit.shape[0]].T, precision="highest")
