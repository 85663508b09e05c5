"""Signal projector of a Hermitian matrix, with finite derivatives for repeated eigenvalues.

======== ========================================================= ===========
symbol   meaning                                                   shape
======== ========================================================= ===========
A        Hermitian matrix                                          [..., N, N]
lambda_i eigenvalues of A, in the order of ``which``               [..., N]
u_i      eigenvectors of A                                         [..., N]
P_k      sum over i <= k of u_i u_i^H                              [..., N, N]
t        broadening, tau times the mean |lambda_i|                 [...]
======== ========================================================= ===========

The first-order change of P_k under dA is (Daleckii and Krein, 1965)

    dP_k = sum over i <= k < j of u_i (u_i^H dA u_j) u_j^H / (lambda_i - lambda_j) + h.c.,

so that pairs on the same side of the cut contribute nothing however close their eigenvalues are. The chain rule through
individual eigenvectors, as in `jnp.linalg.eigh` and in PyTorch, divides by *all* gaps and gives 0/0 for equal pairs.
Across the cut 1/delta is replaced by delta / (delta^2 + t^2), so that a vanishing gap gives a finite derivative, with
a relative bias of t^2 / (delta^2 + t^2) (`risjax.linalg.eigengap`). t scales with A, so P(a A) = P(A) and
dP/d(a A) = dP/dA / a for every a > 0. Second and higher derivatives contain the same broadened gaps
(`risjax.linalg.invariant_projector`).
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Integer

from risjax.linalg.hermitian import (
    TAU,
    descending_mask,
    eigh_descending,
    hermitian_part,
    oriented,
    over_batch,
    real_dtype,
    require_count,
    require_full_precision,
    require_square,
)
from risjax.linalg.invariant_projector import invariant_projector


def signal_projector(
    matrix: Inexact[Array, "*batch N N"],
    k: Integer[Array, "*counts"] | int,
    *,
    which: Literal["largest", "smallest"] = "largest",
    tau: float = TAU,
    max_k: int | None = None,
) -> Inexact[Array, "*shape"]:
    """P_k = U U^H, the projector onto the eigenvectors of the ``k`` largest or smallest eigenvalues.

    Differentiable to every order, by forward and reverse mode. The matrix may be indefinite and of any scale.

    Args:
        matrix: A, Hermitian (its Hermitian part is used), [..., N, N], full precision.
        k: number of eigenvectors, 0 to N; an int, or an integer array that broadcasts with the batch axes and may be
            traced. 0 gives P = 0.
        which: eigenvalues are counted from the ``"largest"`` or from the ``"smallest"``, with their signs.
        tau: broadening of the gaps across the cut, in units of the mean modulus of the eigenvalues.
        max_k: static upper bound of an array ``k``; a larger ``k`` is reduced to it. With it (or an int ``k``) the
            derivative needs products of N x N by N x max_k, little beside the `eigh`; without, of N x N by N x N / 2.

    Returns:
        P, [..., N, N], of the matrix's dtype. If the eigenvalues at the cut coincide, P is not unique and its
        derivatives are the broadened ones.

    Raises:
        ValueError: half precision, a matrix that is not square, an int outside 0..N, an unknown ``which``.

    Example:
        The trace of a projector is its number of eigenvectors, here 1 and 2 in a batch of two:

        >>> covariances = jnp.stack([jnp.diag(jnp.array([3.0, 2.0, 1.0]))] * 2)
        >>> projectors = signal_projector(covariances, jnp.array([1, 2]))
        >>> jnp.trace(projectors, axis1=1, axis2=2).round(4).tolist()
        [1.0, 2.0]

    References:
        Yu. L. Daleckii, S. G. Krein, "Integration and differentiation of functions of Hermitian operators and
        applications to the theory of perturbations", AMS Translations (2) 47 (1965), pp. 1-30.
    """
    require_square(matrix, where="signal_projector")
    size = matrix.shape[-1]
    require_count(k, size, where="signal_projector")
    signed = oriented(matrix, which, where="signal_projector")
    bound = k if isinstance(k, int) else max_k
    of_matrix = partial(_smaller_side, tau=tau) if bound is None else partial(_leading, bound=min(bound, size), tau=tau)
    return over_batch(of_matrix, "(n,n),()->(n,n)")(signed, jnp.asarray(k))


def soft_signal_projector(
    matrix: Inexact[Array, "*batch N N"], probability: Float[Array, "*batch_p slots"], *, tau: float = TAU
) -> Inexact[Array, "*shape"]:
    """sum_k p(k) P_k, the expected projector for an uncertain number of eigenvectors.

    Args:
        matrix: A as in `signal_projector`.
        probability: p(k) for k = 0, 1, ..., [..., slots] with slots <= N + 1; differentiable.
        tau: broadening of the gaps across each cut, as in `signal_projector`.

    Returns:
        [..., N, N], of trace E[k]. A one-hot ``probability`` gives `signal_projector`, value and derivatives.

    Raises:
        ValueError: half precision, a matrix that is not square, more than N + 1 probabilities.

    Example:
        One or two eigenvectors with equal probability:

        >>> expected = soft_signal_projector(jnp.diag(jnp.array([3.0, 2.0, 1.0])), jnp.array([0.0, 0.5, 0.5]))
        >>> jnp.diagonal(expected).round(4).tolist()
        [1.0, 0.5, 0.0]
    """
    require_square(matrix, where="soft_signal_projector")
    require_full_precision(probability, where="soft_signal_projector")
    size, slots = matrix.shape[-1], probability.shape[-1]
    if slots > size + 1:
        raise ValueError(
            f"probability has {slots} entries, for 0..{slots - 1} eigenvectors, expected at most {size + 1} for a "
            f"matrix of size {size}"
        )
    return over_batch(partial(_expected, tau=tau), "(n,n),(s)->(n,n)")(matrix, probability)


def _eigenpairs(matrix: Array) -> tuple[Array, Array, Array]:
    """The Hermitian part of a matrix, and its eigenvalues and eigenvectors without derivative."""
    hermitian = hermitian_part(matrix)
    return hermitian, *eigh_descending(jax.lax.stop_gradient(hermitian))


def _leading(matrix: Array, k: Array, *, bound: int, tau: float) -> Array:
    hermitian, values, vectors = _eigenpairs(matrix)
    return invariant_projector(hermitian, values, vectors, descending_mask(bound, k, values.dtype), tau)


def _smaller_side(matrix: Array, k: Array, *, tau: float) -> Array:
    """P_k(A) = I - P_{N-k}(-A). The smaller side of the cut has at most N / 2 columns."""
    size = matrix.shape[-1]
    is_many = k > size // 2
    sign = jnp.where(is_many, -1.0, 1.0).astype(real_dtype(matrix.dtype))
    projector = _leading(sign * matrix, jnp.where(is_many, size - k, k), bound=size // 2, tau=tau)
    return jnp.where(is_many, jnp.eye(size, dtype=matrix.dtype), 0.0) + sign * projector


def _expected(matrix: Array, probability: Array, *, tau: float) -> Array:
    hermitian, values, vectors = _eigenpairs(matrix)
    slots = probability.shape[0]

    def of_count(k: Array) -> Array:
        mask = descending_mask(slots - 1, k, values.dtype)
        return invariant_projector(hermitian, values, vectors, mask, tau)

    projectors = jax.vmap(of_count)(jnp.arange(slots))
    return jnp.sum(probability.astype(values.dtype)[:, None, None] * projectors, axis=0)
