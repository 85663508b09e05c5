"""Eigendecomposition with a derivative that is finite also for repeated eigenvalues."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from risjax.linalg.hermitian import (
    TAU,
    adjoint,
    broadened_reciprocal,
    hermitian_part,
    matmul,
    require_full_precision,
    scaled_broadening,
)


def safe_eigh(matrix: Inexact[Array, "N N"], *, tau: float = TAU) -> tuple[Float[Array, " N"], Inexact[Array, "N N"]]:
    """Eigenvalues in ascending order and eigenvectors of a Hermitian matrix, as `jnp.linalg.eigh`.

    The derivative d lambda_i = u_i^H dA u_i is exact and contains no gaps between eigenvalues. Derivatives of symmetric
    functions of repeated eigenvalues (sums, log-determinants, sums over the noise block) are therefore right. In
    d u_i = sum_{j != i} u_j (u_j^H dA u_i) / (lambda_i - lambda_j) every gap is broadened, which makes the derivative
    of an eigenvector finite, but it depends on the eigenvector's phase. For losses of a *subspace* use
    `risjax.linalg.signal_projector`.

    Args:
        matrix: A, Hermitian (its Hermitian part is used), [N, N], full precision.
        tau: broadening of the gaps in d u_i, in units of the mean |lambda_i|.

    Returns:
        Eigenvalues [N], real, and eigenvectors [N, N] as columns.

    Raises:
        ValueError: half precision.

    Example:
        The gradient of a function of the eigenvectors at a repeated eigenvalue is finite:

        >>> safe_eigh(jnp.diag(jnp.array([2.0, 1.0])))[0].tolist()
        [1.0, 2.0]
        >>> bool(jnp.isfinite(jax.grad(lambda a: jnp.sum(safe_eigh(a)[1]))(jnp.eye(2))).all())
        True
    """
    require_full_precision(matrix, where="safe_eigh")
    values, vectors = _safe_eigh(matrix, tau)
    return values, vectors


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _safe_eigh(matrix: Array, tau: float) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=True)
    return values, vectors


@_safe_eigh.defjvp
def _safe_eigh_jvp(tau: float, primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    values, vectors = jnp.linalg.eigh(primals[0], symmetrize_input=True)
    coupling = matmul(adjoint(vectors), matmul(hermitian_part(tangents[0]), vectors))
    broadening = scaled_broadening(tau, jnp.sum(jnp.abs(values)), values.shape[0])
    slope = broadened_reciprocal(values[None, :] - values[:, None], broadening)
    return (values, vectors), (jnp.real(jnp.diagonal(coupling)), matmul(vectors, slope * coupling))
