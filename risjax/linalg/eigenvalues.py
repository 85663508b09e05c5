"""An eigen-decomposition for losses of eigenvalues, whose derivative is finite whatever coincides."""

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
)


def safe_eigh(matrix: Inexact[Array, "N N"], *, tau: float = TAU) -> tuple[Float[Array, " N"], Inexact[Array, "N N"]]:
    """Eigenvalues in ascending order and eigenvectors of a Hermitian matrix, as `jnp.linalg.eigh`.

    d lambda_i = u_i^H dA u_i is exact and has no gaps in it; derivatives of functions that treat coinciding
    eigenvalues alike (sums, log-determinants, sums over the noise block) are right at repeated eigenvalues. Those of
    one eigenvector, d u_i = sum_{j != i} u_j (u_j^H dA u_i) / (lambda_i - lambda_j), have every gap broadened:
    finite always, but gauge-dependent. A loss of a *subspace* belongs on `risjax.linalg.signal_projector`.

    Args:
        matrix: A, Hermitian (its Hermitian part is used), [N, N], full precision.
        tau: broadening of the gaps in d u_i.

    Raises:
        ValueError: half precision.
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
    slope = broadened_reciprocal(values[None, :] - values[:, None], tau)
    return (values, vectors), (jnp.real(jnp.diagonal(coupling)), matmul(vectors, slope * coupling))
