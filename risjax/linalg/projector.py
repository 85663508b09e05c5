"""Signal projector of a Hermitian matrix, with a finite derivative for repeated eigenvalues.

======== ========================================================= ======
symbol   meaning                                                   shape
======== ========================================================= ======
R        Hermitian matrix                                          [N, N]
lambda_i eigenvalues of R, largest first                           [N]
u_i      eigenvectors of R                                         [N]
f_i      weight of u_i u_i^H in the projector, 1 or 0 when hard    [N]
P        sum_i f_i u_i u_i^H                                       [N, N]
t        broadening, tau times the mean |lambda_i|                 []
======== ========================================================= ======

The first-order change of P under dR is (Daleckii and Krein, 1965)

    dP = sum_{i, j} (f_i - f_j) / (lambda_i - lambda_j) u_i (u_i^H dR u_j) u_j^H,

so that pairs on the same side of the cut, f_i = f_j, contribute nothing however close their eigenvalues are. The
chain rule through individual eigenvectors, as in `jnp.linalg.eigh` and in PyTorch, divides by *all* gaps and gives 0/0
for equal pairs. Across the cut 1/delta is replaced by delta / (delta^2 + t^2), so that a vanishing gap gives a finite
derivative, with a relative bias of t^2 / (delta^2 + t^2). t scales with R, so P(a R) = P(R) and
dP/d(a R) = dP/dR / a for every a > 0.

First derivatives only: the rule contains an `eigh`, and a second differentiation uses its built-in derivative.

References:
    Yu. L. Daleckii, S. G. Krein, "Integration and differentiation of functions of Hermitian operators and applications
    to the theory of perturbations", AMS Translations (2) 47 (1965), pp. 1-30.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Integer

from risjax.linalg.hermitian import (
    TAU,
    adjoint,
    broadened_reciprocal,
    descending_mask,
    eigh_descending,
    hermitian_part,
    matmul,
    real_dtype,
    require_full_precision,
    scaled_broadening,
)


def signal_projector(
    matrix: Inexact[Array, "N N"],
    num_sources: Integer[Array, ""] | int,
    *,
    tau: float = TAU,
    max_sources: int | None = None,
) -> Inexact[Array, "N N"]:
    """P = U_s U_s^H, the projector onto the eigenvectors of the ``num_sources`` largest eigenvalues.

    Args:
        matrix: R, Hermitian (its Hermitian part is used), [N, N], full precision.
        num_sources: K, [] integer; may be traced and differ from scene to scene under vmap. 0 gives P = 0.
        tau: broadening of the gaps across the cut, in units of the mean modulus of the eigenvalues.
        max_sources: static upper bound of K; a larger K is reduced to it. With it (or an int for K) the derivative
            needs products of N x N by N x max_sources, little beside the `eigh`; without, of N x N by N x N / 2.

    Returns:
        P, [N, N], of the matrix's dtype. If the K-th and (K+1)-th eigenvalues coincide, P is not unique and its
        derivative is the broadened one.

    Raises:
        ValueError: half precision, or not one square matrix (batch with ``jax.vmap``).

    Example:
        The trace of a projector is its number of sources, here 1 and 2 in a batch of two:

        >>> covariances = jnp.stack([jnp.diag(jnp.array([3.0, 2.0, 1.0]))] * 2)
        >>> projectors = jax.vmap(signal_projector)(covariances, jnp.array([1, 2]))
        >>> jnp.trace(projectors, axis1=1, axis2=2).round(4).tolist()
        [1.0, 2.0]
    """
    _check(matrix, "signal_projector")
    size, real = matrix.shape[-1], real_dtype(matrix.dtype)
    bound = num_sources if isinstance(num_sources, int) else max_sources
    sources = jnp.asarray(num_sources)
    if bound is not None:
        return _weighted_projector(matrix, descending_mask(min(bound, size), sources, real), tau)
    # P_K(R) = I - P_{N-K}(-R). The smaller side of the cut has at most N / 2 columns.
    is_many = sources > size // 2
    smaller = jnp.where(is_many, size - sources, sources)
    sign = jnp.where(is_many, -1.0, 1.0).astype(real)
    projector = _weighted_projector(sign * matrix, descending_mask(size // 2, smaller, real), tau)
    return jnp.where(is_many, jnp.eye(size, dtype=matrix.dtype), 0.0) + sign * projector


def soft_signal_projector(
    matrix: Inexact[Array, "N N"], probability: Float[Array, " slots"], *, tau: float = TAU
) -> Inexact[Array, "N N"]:
    """sum_K p(K) P_K, the expected projector for an uncertain number of sources.

    Args:
        matrix: R as in `signal_projector`.
        probability: p(K) for K = 0, 1, ..., [slots] with slots <= N + 1; differentiable.
        tau: broadening of the gaps between pairs of different weight, as in `signal_projector`.

    Returns:
        [N, N], of trace E[K]. A one-hot ``probability`` gives `signal_projector` exactly, value and derivative.
    """
    _check(matrix, "soft_signal_projector")
    size, slots = matrix.shape[-1], probability.shape[-1]
    if slots > size + 1:
        raise ValueError(
            f"probability has {slots} entries, for 0..{slots - 1} sources, expected at most {size + 1} for a matrix of "
            f"size {size}"
        )
    # The i-th eigenvector is in the signal space of every K > i.
    at_least = jnp.cumsum(probability[::-1])[::-1][1:].astype(real_dtype(matrix.dtype))
    return _weighted_projector(matrix, at_least, tau)


def _check(matrix: Array, where: str) -> None:
    require_full_precision(matrix, where=where)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(
            f"{where} got shape {matrix.shape}, expected one square matrix [N, N]; use jax.vmap for a batch"
        )


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _weighted_projector(matrix: Array, weights: Array, tau: float) -> Array:
    """sum_j f_j u_j u_j^H over the leading eigenvectors, one for each weight."""
    _, vectors = eigh_descending(matrix)
    leading = vectors[:, : weights.shape[0]]
    return matmul(leading * weights[None, :], adjoint(leading))


def _weighted_projector_jvp(tau: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    matrix, weights = primals
    matrix_dot, weights_dot = tangents
    count = weights.shape[0]
    values, vectors = eigh_descending(matrix)
    leading = vectors[:, :count]
    projector = matmul(leading * weights[None, :], adjoint(leading))
    projector_dot = jnp.zeros_like(projector)
    if not isinstance(matrix_dot, jax.custom_derivatives.SymbolicZero):
        # Pairs of two vectors without weight contribute nothing. Every other pair is counted in a column j < count,
        # or half in each of two columns if both have a weight. The adjoint adds the other triangle.
        coupling = matmul(adjoint(vectors), matmul(hermitian_part(matrix_dot), leading))
        padded = jnp.pad(weights, (0, values.shape[0] - count))
        broadening = scaled_broadening(tau, jnp.sum(jnp.abs(values)), values.shape[0])
        gap = broadened_reciprocal(values[None, :count] - values[:, None], broadening)
        slope = (weights[None, :] - padded[:, None]) * gap
        share = jnp.where(jnp.arange(values.shape[0]) < count, 0.5, 1.0).astype(slope.dtype)
        half = matmul(matmul(vectors, share[:, None] * slope * coupling), adjoint(leading))
        projector_dot += half + adjoint(half)
    if not isinstance(weights_dot, jax.custom_derivatives.SymbolicZero):
        projector_dot += matmul(leading * weights_dot[None, :], adjoint(leading))
    return projector, projector_dot


_weighted_projector.defjvp(_weighted_projector_jvp, symbolic_zeros=True)
