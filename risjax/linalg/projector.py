"""The signal projector of a Hermitian matrix, with a derivative that repeated eigenvalues cannot hurt.

======== ========================================================= ======
symbol   meaning                                                   shape
======== ========================================================= ======
R        Hermitian matrix of trace N                               [N, N]
lambda_i eigenvalues of R, largest first                           [N]
u_i      eigenvectors of R                                         [N]
f_i      weight of u_i u_i^H in the projector, 1 or 0 when hard    [N]
P        sum_i f_i u_i u_i^H                                       [N, N]
tau      broadening                                                []
======== ========================================================= ======

The first-order change of P under dR is (Daleckii and Krein, 1965)

    dP = sum_{i, j} (f_i - f_j) / (lambda_i - lambda_j) u_i (u_i^H dR u_j) u_j^H,

so that pairs on the same side of the cut, f_i = f_j, contribute nothing however close their eigenvalues are. The
chain rule through individual eigenvectors, which is what `jnp.linalg.eigh` and PyTorch differentiate, divides by *all*
gaps and relies on the 0/0 of equal pairs to cancel. Here they never appear. Across the cut 1/delta is replaced by
delta / (delta^2 + tau^2), so that a vanishing gap gives a finite derivative, with a relative bias of
tau^2 / (delta^2 + tau^2).

First derivatives only: the rule itself contains an `eigh`, whose built-in derivative a second differentiation meets.
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
        matrix: R, Hermitian (its Hermitian part is used), of trace N, [N, N], full precision.
        num_sources: K, [] integer; may be traced and differ from scene to scene under vmap. 0 gives P = 0.
        tau: broadening of the gaps across the cut.
        max_sources: a static bound of K, above which K is cut off. With it (or an int for K) the derivative costs
            products of N x N by N x max_sources, little beside the `eigh`; without, of N x N by N x N / 2.

    Returns:
        P, [N, N], of the matrix's dtype. Where the K-th and (K+1)-th eigenvalues coincide P is one of many and its
        derivative the broadened, finite one.

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
    # P_K(R) = I - P_{N-K}(-R): whichever side of the cut is smaller has at most N / 2 columns to multiply with.
    is_many = sources > size // 2
    smaller = jnp.where(is_many, size - sources, sources)
    sign = jnp.where(is_many, -1.0, 1.0).astype(real)
    projector = _weighted_projector(sign * matrix, descending_mask(size // 2, smaller, real), tau)
    return jnp.where(is_many, jnp.eye(size, dtype=matrix.dtype), 0.0) + sign * projector


def soft_signal_projector(
    matrix: Inexact[Array, "N N"], probability: Float[Array, " slots"], *, tau: float = TAU
) -> Inexact[Array, "N N"]:
    """sum_K p(K) P_K, the projector where the number of sources is uncertain.

    Args:
        matrix: R as in `signal_projector`.
        probability: p(K) for K = 0, 1, ..., [slots] with slots <= N + 1; differentiable.
        tau: broadening; it acts between all pairs whose weights differ.

    Returns:
        [N, N], of trace E[K]. A one-hot ``probability`` gives `signal_projector` exactly, value and derivative.
    """
    _check(matrix, "soft_signal_projector")
    size, slots = matrix.shape[-1], probability.shape[-1]
    if slots > size + 1:
        raise ValueError(
            f"probability has {slots} entries, for 0..{slots - 1} sources, but the matrix has {size} eigenvectors"
        )
    # The i-th eigenvector is in the signal space of every K > i.
    at_least = jnp.cumsum(probability[::-1])[::-1][1:].astype(real_dtype(matrix.dtype))
    return _weighted_projector(matrix, at_least, tau)


def _check(matrix: Array, where: str) -> None:
    require_full_precision(matrix, where=where)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{where} takes one square matrix [N, N], got shape {matrix.shape}; use jax.vmap for a batch")


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _weighted_projector(matrix: Array, weights: Array, tau: float) -> Array:
    """sum of f_j u_j u_j^H over the leading eigenvectors, as many as there are weights."""
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
        # Pairs of two vectors without weight contribute nothing; each other pair is counted in one column j < count,
        # or, where both have a weight, half in each. The adjoint adds the rest.
        coupling = matmul(adjoint(vectors), matmul(hermitian_part(matrix_dot), leading))
        padded = jnp.pad(weights, (0, values.shape[0] - count))
        slope = (weights[None, :] - padded[:, None]) * broadened_reciprocal(values[None, :count] - values[:, None], tau)
        share = jnp.where(jnp.arange(values.shape[0]) < count, 0.5, 1.0).astype(slope.dtype)
        half = matmul(matmul(vectors, share[:, None] * slope * coupling), adjoint(leading))
        projector_dot += half + adjoint(half)
    if not isinstance(weights_dot, jax.custom_derivatives.SymbolicZero):
        projector_dot += matmul(leading * weights_dot[None, :], adjoint(leading))
    return projector, projector_dot


_weighted_projector.defjvp(_weighted_projector_jvp, symbolic_zeros=True)
