"""Solution of loaded Hermitian systems by Cholesky factorisation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from risjax.linalg.hermitian import hermitian_part, matmul, require_full_precision


def cholesky_solve(
    matrix: Inexact[Array, "N N"], rhs: Inexact[Array, "N ..."], loading: Float[Array, ""] | float
) -> Inexact[Array, "N ..."]:
    """(A + loading I)^-1 b for a positive semi-definite A.

    The derivative dx = (A + loading I)^-1 (db - dA x - dloading x) is one more solve with the same factor; the Cholesky
    factor itself is not differentiated.

    Args:
        matrix: A, Hermitian positive semi-definite (its Hermitian part is used), [N, N], full precision.
        rhs: b, [N] or [N, columns], same dtype.
        loading: positive. A value below N eps max(diag A) is raised to it, because rounding could otherwise make the
            loaded matrix indefinite and the result NaN.

    Returns:
        The solution, of the shape and dtype of ``rhs``.

    Raises:
        ValueError: half precision.

    Example:
        >>> cholesky_solve(jnp.diag(jnp.array([3.0, 0.0])), jnp.array([4.0, 2.0]), 1.0).tolist()
        [1.0, 2.0]
    """
    require_full_precision(matrix, rhs, where="cholesky_solve")
    floor = jax.lax.stop_gradient(loading_floor(jnp.real(jnp.diagonal(matrix))))
    loading = jnp.maximum(jnp.asarray(loading, floor.dtype), floor)
    loaded = hermitian_part(matrix) + loading * jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    return _solve(loaded, rhs)


def loading_floor(diagonal: Float[Array, " N"]) -> Float[Array, ""]:
    """N eps max(diagonal), the smallest loading above the rounding errors; the smallest normal number for A = 0."""
    info = jnp.finfo(diagonal.dtype)
    return jnp.maximum(diagonal.shape[0] * info.eps * jnp.max(diagonal, initial=0.0), info.tiny)


@jax.custom_jvp
def _solve(matrix: Array, rhs: Array) -> Array:
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix, lower=True), rhs)


@_solve.defjvp
def _solve_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (matrix, rhs), (matrix_dot, rhs_dot) = primals, tangents
    factor = jax.scipy.linalg.cho_factor(matrix, lower=True)
    solution = jax.scipy.linalg.cho_solve(factor, rhs)
    return solution, jax.scipy.linalg.cho_solve(factor, rhs_dot - matmul(matrix_dot, solution))
