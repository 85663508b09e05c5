"""Signal projector of R = F F^H + delta I from the rank x rank Gram matrix F^H F.

======== =========================================================================== =========
symbol   meaning                                                                     shape
======== =========================================================================== =========
F        factor of R, rank columns                                                   [N, rank]
v_k      eigenvectors of the Gram matrix F^H F, largest eigenvalue first             [rank]
q_k      orthonormal basis of F's span, q_k s_k = F v_k                              [N]
s_k      singular values of F, lambda_k = s_k^2                                      [rank]
f_k      1 for the signal's vectors, 0 for the others and for those outside F's span [rank]
P        sum_k f_k q_k q_k^H                                                         [N, N]
g        broadened reciprocal x / (x^2 + t^2), t = tau tr(F F^H) / N
======== =========================================================================== =========

Two kinds of gaps lie across the cut between signal and noise: those between eigenvalues of F F^H, and those between
these eigenvalues and the null space of F^H, where the eigenvalue of R is delta. Both are broadened in the same way.
With Z = dF V and A = Q^H Z the rule of `risjax.linalg.projector` becomes dP = B Q^H + Q B^H,

    B = Q C + (Z - Q A) diag(f_k s_k g(lambda_k)),
    C_jk = f_k (1 - f_j) g(lambda_k - lambda_j) (A_jk s_k + s_j conj(A_kj)),

where s g(s^2) is at most 0.57 / sqrt(t) and tends to 0 with s, so the derivative is finite also for a column of zeros
or two equal columns. delta cancels in every gap, so P depends on F alone.

Directions of F below the rank tolerance of NumPy, s_k <= max(N, rank) eps s_1, are not part of P: its trace is
min(K, rank of F), and an all-zero F gives P = 0 with derivative 0. `signal_projector` of the N x N matrix differs from
this only there: it completes the subspace with arbitrary null vectors.

First derivatives only: a second one differentiates the `eigh` of F^H F and is NaN for equal singular values. For second
derivatives use `signal_projector` of F F^H.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact, Integer

from risjax.linalg.factored import LowRankCovariance
from risjax.linalg.hermitian import (
    TAU,
    adjoint,
    broadened_reciprocal,
    descending_mask,
    eigh_descending,
    matmul,
    modulus_squared,
    require_full_precision,
    scaled_broadening,
)

SymbolicZero = jax.custom_derivatives.SymbolicZero


def low_rank_signal_projector(
    covariance: LowRankCovariance, num_sources: Integer[Array, ""] | int, *, tau: float = TAU
) -> Inexact[Array, "N N"]:
    """P, the projector onto the ``num_sources`` strongest directions of R = F F^H + delta I.

    P(a F) = P(F), and the derivative by a F is that by F divided by a.

    Args:
        covariance: F and delta of one scene, full precision.
        num_sources: K, [] integer; may be traced and differ from scene to scene under vmap.
        tau: broadening of the gaps across the cut, in units of tr(F F^H) / N.

    Returns:
        [N, N], Hermitian, of trace min(K, rank F). For tr(P P') alone use `signal_overlap`, which is several
        times faster because it forms no N x N matrix.

    Raises:
        ValueError: half precision, or a batch (use ``jax.vmap``).

    Example:
        >>> covariance = LowRankCovariance(jnp.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), jnp.array(0.1))
        >>> jnp.diagonal(low_rank_signal_projector(covariance, 1)).round(4).tolist()
        [1.0, 0.0, 0.0]
    """
    _check(covariance, "low_rank_signal_projector")
    return _projector(covariance.factor, jnp.asarray(num_sources), tau)


def signal_overlap(
    first: LowRankCovariance,
    second: LowRankCovariance,
    num_sources: Integer[Array, ""] | int,
    *,
    tau: float = TAU,
) -> Float[Array, ""]:
    """tr(P_1 P_2), the shared dimensions of two signal subspaces, between 0 and K.

    ||P_1 - P_2||^2 = 2 K - 2 tr(P_1 P_2) if both have rank K. The overlap is differentiable in both arguments; the
    backward pass computes only the derivatives that are asked for.

    Args:
        first: F_1 and its loading, as in `low_rank_signal_projector`.
        second: the same, on the same N; its rank may differ.
        num_sources: K, [] integer, for both; may be traced.
        tau: broadening of the gaps across the cut, in units of tr(F F^H) / N.

    Returns:
        [], real.

    Raises:
        ValueError: half precision, or a batch (use ``jax.vmap``).

    Example:
        Two lines at 30 degrees, cos(30 deg)^2 = 0.75:

        >>> lines = [jnp.array([[1.0], [0.0]]), jnp.array([[3.0**0.5], [1.0]])]
        >>> first, second = (LowRankCovariance(line, jnp.array(0.1)) for line in lines)
        >>> round(signal_overlap(first, second, 1).item(), 4)
        0.75
    """
    _check(first, "signal_overlap")
    _check(second, "signal_overlap")
    return _overlap(first.factor, second.factor, jnp.asarray(num_sources), tau)


class Basis(NamedTuple):
    """Orthonormal basis Q = images @ mix of a factor's span. Products with Q can be formed without Q itself.

    Attributes:
        images: F v_k, [N, rank].
        mix: [rank, rank]; zero columns beyond the numerical rank.
        singular: s_k, [rank], largest first; zero beyond the numerical rank.
        right: v_k, [rank, rank].
    """

    images: Complex[Array, "N rank"] | Float[Array, "N rank"]
    mix: Complex[Array, "rank rank"] | Float[Array, "rank rank"]
    singular: Float[Array, " rank"]
    right: Complex[Array, "rank rank"] | Float[Array, "rank rank"]

    @property
    def vectors(self) -> Inexact[Array, "N rank"]:
        """q_k, [N, rank]."""
        return matmul(self.images, self.mix)


def orthonormal_basis(factor: Inexact[Array, "N rank"]) -> Basis:
    """Singular vectors of F from the eigenvectors of F^H F, re-orthogonalised; not differentiable.

    The Gram matrix squares the condition number of F. The v_k of two singular values below sqrt(eps) s_1 are an
    arbitrary basis of their plane, and their images F v_k may be nearly parallel. The images, of unit norm and
    strongest first, are therefore orthogonalised again through the Cholesky factor of *their* Gram matrix, which is
    close to the identity, so that no direction is counted twice. A direction is dropped if it lies below the rank
    tolerance or within 1e2 sqrt(eps) of the span of the stronger ones.

    Args:
        factor: F, [N, rank], full precision.

    Returns:
        The basis, whose ``vectors`` are q_k, [N, rank].

    Example:
        >>> basis = orthonormal_basis(jnp.array([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
        >>> basis.singular.round(4).tolist(), jnp.abs(basis.vectors[:, 0]).round(4).tolist()
        ([3.0, 2.0], [1.0, 0.0, 0.0])
    """
    num_elements, rank = factor.shape
    eps = float(jnp.finfo(factor.dtype).eps)
    _, right = eigh_descending(matmul(adjoint(factor), factor))
    images = matmul(factor, right)
    # Divisions and masks act on rank x rank arrays: passes over N x rank took most of the time.
    products = matmul(adjoint(images), images)
    norms = jnp.sqrt(jnp.maximum(jnp.real(jnp.diagonal(products)), 0.0))
    tolerance = max(num_elements, rank) * eps * jnp.sqrt(jnp.sum(norms**2))
    above = norms > tolerance
    inverse_norms = jnp.where(above, 1.0 / jnp.where(above, norms, 1.0), 0.0)
    cosines = products * (inverse_norms[:, None] * inverse_norms[None, :])
    # Rounding changes a pivot by up to rank eps. A column of zeros gets 1 instead.
    loading = jnp.where(above, rank * eps, 1.0).astype(factor.dtype)
    lower = jnp.linalg.cholesky(cosines + jnp.diag(loading), symmetrize_input=False)
    pivots = jnp.real(jnp.diagonal(lower))
    inside = (norms * pivots > tolerance) & (pivots**2 > 1e4 * eps)
    inverse = jax.scipy.linalg.solve_triangular(lower, jnp.eye(rank, dtype=factor.dtype), lower=True)
    mix = inverse_norms[:, None] * adjoint(inverse) * inside[None, :]
    return Basis(images, mix, jnp.where(inside, norms * pivots, 0.0), right)


def _check(covariance: LowRankCovariance, where: str) -> None:
    require_full_precision(covariance.factor, where=where)
    if covariance.factor.ndim != 2:
        raise ValueError(
            f"{where} got shape {covariance.factor.shape}, expected one factor [N, rank]; use jax.vmap for a batch"
        )


def _signal_basis(factor: Array, num_sources: Array) -> tuple[Basis, Array]:
    basis = orthonormal_basis(factor)
    chosen = descending_mask(factor.shape[1], num_sources, basis.singular.dtype)
    return basis, jnp.where(basis.singular > 0, chosen, 0.0)


def _inside(basis: Basis, image_dot: Array) -> Array:
    """A = Q^H Z, [rank, columns], of any Z [N, columns]."""
    return matmul(adjoint(basis.mix), matmul(adjoint(basis.images), image_dot))


def _half_tangent(basis: Basis, signal: Array, inside: Array, tau: float) -> tuple[Array, Array]:
    """(w, W) with B = Z diag(w) + Q W and dP = B Q^H + Q B^H, from A = Q^H Z and Z = dF V."""
    singular = basis.singular
    eigenvalues = singular**2
    across = signal[None, :] * (1.0 - signal)[:, None]
    broadening = scaled_broadening(tau, jnp.sum(eigenvalues), basis.images.shape[0])
    gap = broadened_reciprocal(eigenvalues[None, :] - eigenvalues[:, None], broadening)
    coupling = across * gap * (inside * singular[None, :] + singular[:, None] * adjoint(inside))
    weight = signal * singular * broadened_reciprocal(eigenvalues, broadening)
    return weight, coupling - inside * weight[None, :]


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _projector(factor: Array, num_sources: Array, tau: float) -> Array:
    basis, signal = _signal_basis(factor, num_sources)
    return matmul(basis.vectors * signal[None, :], adjoint(basis.vectors))


@_projector.defjvp
def _projector_jvp(tau: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    basis, signal = _signal_basis(*primals)
    vectors, image_dot = basis.vectors, matmul(tangents[0], basis.right)
    weight, inner = _half_tangent(basis, signal, matmul(adjoint(vectors), image_dot), tau)
    half = matmul(image_dot * weight[None, :] + matmul(vectors, inner), adjoint(vectors))
    return matmul(vectors * signal[None, :], adjoint(vectors)), half + adjoint(half)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _overlap(first: Array, second: Array, num_sources: Array, tau: float) -> Array:
    basis_1, signal_1 = _signal_basis(first, num_sources)
    basis_2, signal_2 = _signal_basis(second, num_sources)
    cosines = matmul(_inside(basis_1, basis_2.images), basis_2.mix)
    return jnp.sum(signal_1[:, None] * signal_2[None, :] * modulus_squared(cosines))


def _overlap_jvp(tau: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    factors, num_sources = primals[:2], primals[2]
    (basis_1, signal_1), (basis_2, signal_2) = (_signal_basis(factor, num_sources) for factor in factors)
    cosines = matmul(_inside(basis_1, basis_2.images), basis_2.mix)
    value = jnp.sum(signal_1[:, None] * signal_2[None, :] * modulus_squared(cosines))
    value_dot = jnp.zeros_like(value)
    # d tr(P_1 P_2) = 2 Re <B_1, P_2 Q_1>, and the same with 1 and 2 exchanged. dF enters only through the small
    # matrices Q_1^H dF and Q_2^H dF.
    for basis, signal, other, other_signal, cosine, tangent in (
        (basis_1, signal_1, basis_2, signal_2, cosines, tangents[0]),
        (basis_2, signal_2, basis_1, signal_1, adjoint(cosines), tangents[1]),
    ):
        if not isinstance(tangent, SymbolicZero):
            masked = other_signal[:, None] * adjoint(cosine)
            inside, across = (matmul(_inside(side, tangent), basis.right) for side in (basis, other))
            weight, inner = _half_tangent(basis, signal, inside, tau)
            value_dot += 2.0 * jnp.sum(jnp.real(masked.conj() * across * weight[None, :]))
            value_dot += 2.0 * jnp.sum(jnp.real(matmul(cosine, masked).conj() * inner))
    return value, value_dot


_overlap.defjvp(_overlap_jvp, symbolic_zeros=True)
