"""R^-1 and log det R for R = F F^H + delta I, without forming R.

With the rank x rank matrix M = F^H F + delta I and x = M^-1 F^H a (Woodbury):

    R^-1 a       = (a - F x) / delta
    a^H R^-1 a   = ||a - F x||^2 / delta + ||x||^2
    log det R    = log det M + (N - rank) log delta

The second line is the minimum over x of its right-hand side (ridge regression), so an error e in x changes it by
O(e^2). The textbook form (||a||^2 - a^H F x) / delta subtracts two nearly equal numbers at the peaks of a spectrum,
where float32 loses a factor 1 / delta in precision.

A delta below rank eps max(diag F^H F) is raised to it, because rounding could otherwise make M indefinite; the
derivative by delta is then 0.

References:
    W. W. Hager, "Updating the inverse of a matrix", SIAM Review 31 (1989), doi:10.1137/1031049.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from risjax.linalg.factored import LowRankCovariance
from risjax.linalg.hermitian import adjoint, matmul, modulus_squared, require_full_precision
from risjax.linalg.solve import loading_floor


def inverse_quadratic_form(
    covariance: LowRankCovariance, vectors: Inexact[Array, "*vectors N"]
) -> Float[Array, "*vectors"]:
    """a^H R^-1 a for every vector a, positive; 1 / it is the MVDR spectrum.

    The derivative is 2 Re(b^H da) - b^H dR b - ||b||^2 ddelta with b = R^-1 a; no factorisation is differentiated.

    Args:
        covariance: F [N, rank] and delta > 0 of one scene.
        vectors: a, [..., N], of the factor's dtype.

    Returns:
        [...], real.

    Raises:
        ValueError: half precision.

    Example:
        R = diag(4, 1), whose inverse has the entries 0.25 and 1:

        >>> covariance = LowRankCovariance(jnp.array([[3.0**0.5], [0.0]]), jnp.array(1.0))
        >>> inverse_quadratic_form(covariance, jnp.eye(2)).round(4).tolist()
        [0.25, 1.0]
    """
    require_full_precision(covariance.factor, vectors, where="inverse_quadratic_form")
    return _quadratic_form(covariance.factor, effective_loading(covariance), vectors)


def woodbury_solve(
    covariance: LowRankCovariance, vectors: Inexact[Array, "*vectors N"]
) -> Inexact[Array, "*vectors N"]:
    """R^-1 a for every vector a.

    Args:
        covariance: F [N, rank] and delta > 0 of one scene, full precision.
        vectors: a, [..., N], of the factor's dtype.

    Returns:
        [..., N], of the same dtype.

    Raises:
        ValueError: half precision.

    Example:
        >>> covariance = LowRankCovariance(jnp.array([[3.0**0.5], [0.0]]), jnp.array(1.0))
        >>> woodbury_solve(covariance, jnp.array([4.0, 2.0])).round(4).tolist()
        [1.0, 2.0]
    """
    require_full_precision(covariance.factor, vectors, where="woodbury_solve")
    loading = effective_loading(covariance)
    residual, _ = _ridge(covariance.factor, loading, vectors)
    return residual / loading


def log_determinant(covariance: LowRankCovariance) -> Float[Array, ""]:
    """log det R.

    Args:
        covariance: F [N, rank] and delta > 0 of one scene, full precision.

    Returns:
        [], real.

    Raises:
        ValueError: half precision.

    Example:
        >>> covariance = LowRankCovariance(jnp.array([[3.0**0.5], [0.0]]), jnp.array(1.0))
        >>> round(jnp.exp(log_determinant(covariance)).item(), 4)
        4.0
    """
    require_full_precision(covariance.factor, where="log_determinant")
    num_elements, rank = covariance.factor.shape
    loading = effective_loading(covariance)
    diagonal = jnp.real(jnp.diagonal(jnp.linalg.cholesky(_loaded_gram(covariance.factor, loading))))
    return 2.0 * jnp.sum(jnp.log(diagonal)) + (num_elements - rank) * jnp.log(loading)


def effective_loading(covariance: LowRankCovariance) -> Float[Array, ""]:
    """delta, at least `loading_floor` of F^H F."""
    floor = loading_floor(jnp.sum(modulus_squared(covariance.factor), axis=0))
    return jnp.maximum(covariance.loading, jax.lax.stop_gradient(floor))


def _loaded_gram(factor: Array, loading: Array) -> Array:
    return matmul(adjoint(factor), factor) + loading * jnp.eye(factor.shape[1], dtype=factor.dtype)


def _ridge(factor: Array, loading: Array, vectors: Array) -> tuple[Array, Array]:
    """(a - F x, x) for every a, with x = M^-1 F^H a after one step of iterative refinement."""
    lower = jnp.linalg.cholesky(_loaded_gram(factor, loading))

    def solve(rows: Array) -> Array:
        flat = rows.reshape(-1, rows.shape[-1]).T
        return jax.scipy.linalg.cho_solve((lower, True), flat).T.reshape(rows.shape)

    x = solve(matmul(vectors, factor.conj()))
    residual = vectors - matmul(x, factor.T)
    x = x + solve(matmul(residual, factor.conj()) - loading * x)
    return vectors - matmul(x, factor.T), x


@jax.custom_jvp
def _quadratic_form(factor: Array, loading: Array, vectors: Array) -> Array:
    residual, x = _ridge(factor, loading, vectors)
    return jnp.sum(modulus_squared(residual), axis=-1) / loading + jnp.sum(modulus_squared(x), axis=-1)


@_quadratic_form.defjvp
def _quadratic_form_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (factor, loading, vectors), (factor_dot, loading_dot, vectors_dot) = primals, tangents
    residual, x = _ridge(factor, loading, vectors)
    value = jnp.sum(modulus_squared(residual), axis=-1) / loading + jnp.sum(modulus_squared(x), axis=-1)
    image = residual / loading  # b = R^-1 a, and F^H b = x
    change = vectors_dot - matmul(x, factor_dot.T)
    value_dot = 2.0 * jnp.sum(jnp.real(image.conj() * change), axis=-1)
    return value, value_dot - jnp.sum(modulus_squared(image), axis=-1) * loading_dot
