"""Projector onto an invariant subspace as a function of the matrix, with derivatives of every order.

======== ============================================================================= ======
symbol   meaning                                                                       shape
======== ============================================================================= ======
A        Hermitian matrix                                                              [N, N]
lambda_i eigenvalues of A, largest first; constants, without derivative                [N]
V        eigenvectors of A as columns; constants, without derivative                   [N, N]
S        the eigenvectors that span the subspace, V with a mask on its columns         [N, c]
Z        frame of the subspace, A Z = Z L with S^H Z = I; equal to S at A itself       [N, c]
L        S^H A Z                                                                       [c, c]
P        projector Z (Z^H Z)^-1 Z^H                                                    [N, N]
======== ============================================================================= ======

The derivative of an eigenvector divides by the gaps to all other eigenvalues. The frame Z does not: the first-order
change of A Z = Z L is the Sylvester equation

    A dZ - dZ L - Z S^H A dZ = -(I - Z S^H) dA Z,

whose solution divides by the gaps between the subspace and its complement alone. Its operator and its right-hand side
are functions of A and Z. `jax.lax.custom_linear_solve` differentiates the equation, not the division by gaps, so the
second derivative is again such a solution, and so on. At A itself the operator is diagonal in V, which gives the
solution in closed form; there every gap delta is broadened, 1 / delta -> delta / (delta^2 + t^2).

Reference:
    G. W. Stewart, "Error and perturbation bounds for subspaces associated with certain eigenvalue problems", SIAM
    Review 15 (1973), doi:10.1137/1015095.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from risjax.linalg.hermitian import adjoint, broadened_reciprocal, matmul, scaled_broadening


def invariant_projector(
    matrix: Inexact[Array, "N N"],
    values: Float[Array, " N"],
    vectors: Inexact[Array, "N N"],
    mask: Float[Array, " c"],
    tau: float,
) -> Inexact[Array, "N N"]:
    """P, the projector onto the eigenvectors that a mask selects, differentiable in the matrix.

    Args:
        matrix: A, exactly Hermitian.
        values: its eigenvalues, without derivative.
        vectors: its eigenvectors, without derivative.
        mask: 1 for selected and 0 for other vectors among the first c; the vectors beyond c are not selected.
        tau: broadening of the gaps, in units of the mean |lambda_i|.
    """
    return _projector(_frame(matrix, values, vectors, mask, tau), mask)


@partial(jax.custom_jvp, nondiff_argnums=(4,))
def _frame(matrix: Array, values: Array, vectors: Array, mask: Array, tau: float) -> Array:
    """Z."""
    return vectors[:, : mask.shape[0]] * mask[None, :]


@_frame.defjvp
def _frame_jvp(tau: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    matrix, values, vectors, mask = primals
    frame = _frame(*primals, tau)
    start = vectors[:, : mask.shape[0]] * mask[None, :]
    reciprocals = _reciprocals(values, mask, tau)

    def outside(columns: Array) -> Array:
        return columns - matmul(frame, matmul(adjoint(start), columns))

    def operator(columns: Array) -> Array:
        reduced = matmul(adjoint(start), matmul(matrix, frame))
        return outside(matmul(matrix, columns)) - matmul(columns, reduced)

    def solve(_: Callable, right: Array) -> Array:
        return matmul(vectors, reciprocals * matmul(adjoint(vectors), right))

    def solve_transposed(_: Callable, right: Array) -> Array:
        return matmul(vectors.conj(), reciprocals * matmul(vectors.T, right))

    right = outside(matmul(tangents[0], frame))
    return frame, -jax.lax.custom_linear_solve(operator, right, solve, solve_transposed)


def _reciprocals(values: Array, mask: Array, tau: float) -> Array:
    """1 / (lambda_i - lambda_j), broadened, for j in the subspace and i outside of it, otherwise 0; [N, c]."""
    size, count = values.shape[0], mask.shape[0]
    broadening = scaled_broadening(tau, jnp.sum(jnp.abs(values)), size)
    outside = 1.0 - jnp.pad(mask, (0, size - count))
    return outside[:, None] * mask[None, :] * broadened_reciprocal(values[:, None] - values[None, :count], broadening)


@jax.custom_jvp
def _projector(frame: Array, mask: Array) -> Array:
    """Z (Z^H Z)^-1 Z^H for a frame whose selected columns are orthonormal and whose other columns are zero."""
    return matmul(frame, adjoint(frame))


@_projector.defjvp
def _projector_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """dP = (I - P) dZ W^H + h.c. with W = Z (Z^H Z)^-1, which has the value of Z but other derivatives."""
    frame, mask = primals
    gram = matmul(adjoint(frame), frame) + jnp.diag(1.0 - mask)

    def identity(_: Callable, right: Array) -> Array:
        return right

    dual = jax.lax.custom_linear_solve(lambda columns: matmul(columns, gram), frame, identity, identity)
    half = matmul(tangents[0] - matmul(dual, matmul(adjoint(frame), tangents[0])), adjoint(dual))
    return _projector(frame, mask), half + adjoint(half)
