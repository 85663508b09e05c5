"""The signal projector of R = F F^H + delta I through the small problem F^H F.

======== =========================================================================== =========
symbol   meaning                                                                     shape
======== =========================================================================== =========
F        factor of R, of trace N, rank columns                                       [N, rank]
v_k      eigenvectors of the Gram matrix F^H F, largest eigenvalue first             [rank]
q_k      orthonormal basis of F's span, q_k s_k = F v_k                              [N]
s_k      singular values of F, lambda_k = s_k^2                                      [rank]
f_k      1 for the signal's vectors, 0 for the others and for those outside F's span [rank]
P        sum_k f_k q_k q_k^H                                                         [N, N]
g        broadened reciprocal delta / (delta^2 + tau^2)
======== =========================================================================== =========

A cut through R meets two kinds of gaps: those between F's own eigenvalues, and those between F's eigenvalues and the
null space of F, where R's eigenvalue is delta. Both are broadened alike. With Z = dF V and A = Q^H Z the rule of
`risjax.linalg.projector` becomes dP = B Q^H + Q B^H,

    B = Q C + (Z - Q A) diag(f_k s_k g(lambda_k)),
    C_jk = f_k (1 - f_j) g(lambda_k - lambda_j) (A_jk s_k + s_j conj(A_kj)),

where s g(s^2) is at most 0.57 / sqrt(tau) and vanishes with s: a column that vanishes, or two that coincide, leave
nothing to divide by. delta cancels out of every gap, so P depends on F alone.

Directions of F below numpy's rank tolerance, s_k <= max(N, rank) eps s_1, are no part of P: its trace is
min(K, rank of F), and an all-zero F gives P = 0 with derivative 0. (The 144 x 144 route fills up with arbitrary null
vectors instead; there only, the two differ.)
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact, Integer

from risjax.linalg.hermitian import (
    TAU,
    adjoint,
    broadened_reciprocal,
    descending_mask,
    eigh_descending,
    matmul,
    modulus_squared,
    require_full_precision,
)
from risjax.types import LowRankCovariance

SymbolicZero = jax.custom_derivatives.SymbolicZero


def low_rank_signal_projector(
    covariance: LowRankCovariance, num_sources: Integer[Array, ""] | int, *, tau: float = TAU
) -> Inexact[Array, "N N"]:
    """P, the projector onto the ``num_sources`` strongest directions of R = F F^H + delta I.

    Args:
        covariance: F of trace N (`normalise_trace`) and delta, one scene, full precision.
        num_sources: K, [] integer; may be traced and differ from scene to scene under vmap.
        tau: broadening of the gaps across the cut.

    Returns:
        [N, N], Hermitian, of trace min(K, rank F). Where only tr(P P') is wanted, `signal_overlap` is several times
        faster, since it never forms an N x N matrix.

    Raises:
        ValueError: half precision, or a batch (use ``jax.vmap``).
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

    ||P_1 - P_2||^2 = 2 K - 2 tr(P_1 P_2) where both have rank K. Differentiable in both; an argument that is not
    differentiated (a label) costs nothing on the way back.

    Args:
        first: F_1 of trace N and its loading, as in `low_rank_signal_projector`.
        second: the same, on the same N; its rank may differ.
        num_sources: K, [] integer, for both; may be traced.
        tau: broadening of the gaps across the cut.
    """
    _check(first, "signal_overlap")
    _check(second, "signal_overlap")
    return _overlap(first.factor, second.factor, jnp.asarray(num_sources), tau)


class Basis(NamedTuple):
    """Orthonormal basis Q of a factor's span, in two parts: what is contracted with them never has to form Q.

    Attributes:
        images: F v_k, [N, rank].
        mix: Q = images @ mix, [rank, rank]; zero columns beyond the numerical rank.
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
    """The singular vectors of F from the eigenvectors of F^H F, re-orthogonalised.

    The Gram matrix squares F's condition number: two singular values below sqrt(eps) s_1 leave v_k that are any two
    vectors of their plane, whose images F v_k may be nearly parallel. So the images, of unit norm and strongest first,
    are orthogonalised once more through the Cholesky factor of *their* Gram matrix (which is close to the identity),
    and no loss can count a direction twice. A direction is dropped when it lies below the rank tolerance or within
    1e2 sqrt(eps) of the stronger ones. Not differentiable by itself.
    """
    num_elements, rank = factor.shape
    eps = float(jnp.finfo(factor.dtype).eps)
    _, right = eigh_descending(matmul(adjoint(factor), factor))
    images = matmul(factor, right)
    # Everything that is divided or masked is rank x rank; passes over N x rank were most of the time.
    products = matmul(adjoint(images), images)
    norms = jnp.sqrt(jnp.maximum(jnp.real(jnp.diagonal(products)), 0.0))
    tolerance = max(num_elements, rank) * eps * jnp.sqrt(jnp.sum(norms**2))
    above = norms > tolerance
    inverse_norms = jnp.where(above, 1.0 / jnp.where(above, norms, 1.0), 0.0)
    cosines = products * (inverse_norms[:, None] * inverse_norms[None, :])
    # rank eps is what rounding can take from a pivot; a column of zeros gets 1 instead.
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
        raise ValueError(f"{where} takes one factor [N, rank], got {covariance.factor.shape}; use jax.vmap for a batch")


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
    gap = broadened_reciprocal(eigenvalues[None, :] - eigenvalues[:, None], tau)
    coupling = across * gap * (inside * singular[None, :] + singular[:, None] * adjoint(inside))
    weight = signal * singular * broadened_reciprocal(eigenvalues, tau)
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
    (one, signal_one), (two, signal_two) = _signal_basis(first, num_sources), _signal_basis(second, num_sources)
    cosines = matmul(_inside(one, two.images), two.mix)
    return jnp.sum(signal_one[:, None] * signal_two[None, :] * modulus_squared(cosines))


def _overlap_jvp(tau: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    factors, num_sources = primals[:2], primals[2]
    (one, signal_one), (two, signal_two) = (_signal_basis(factor, num_sources) for factor in factors)
    cosines = matmul(_inside(one, two.images), two.mix)
    value = jnp.sum(signal_one[:, None] * signal_two[None, :] * modulus_squared(cosines))
    value_dot = jnp.zeros_like(value)
    # d tr(P_1 P_2) = 2 Re <B_1, P_2 Q_1>, and the same with the two exchanged. dF enters through Q_1^H dF and
    # Q_2^H dF alone, both small.
    for basis, signal, other, other_signal, cosine, tangent in (
        (one, signal_one, two, signal_two, cosines, tangents[0]),
        (two, signal_two, one, signal_one, adjoint(cosines), tangents[1]),
    ):
        if not isinstance(tangent, SymbolicZero):
            masked = other_signal[:, None] * adjoint(cosine)
            own, others = (matmul(_inside(side, tangent), basis.right) for side in (basis, other))
            weight, inner = _half_tangent(basis, signal, own, tau)
            value_dot += 2.0 * jnp.sum(jnp.real(masked.conj() * others * weight[None, :]))
            value_dot += 2.0 * jnp.sum(jnp.real(matmul(cosine, masked).conj() * inner))
    return value, value_dot


_overlap.defjvp(_overlap_jvp, symbolic_zeros=True)
