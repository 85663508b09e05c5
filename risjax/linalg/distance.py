"""Distance between two subspaces, given by orthonormal bases or by projectors."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from risjax.linalg.hermitian import adjoint, matmul, modulus_squared, require_full_precision


def subspace_distance(
    first: Inexact[Array, "*batch N columns"], second: Inexact[Array, "*batch_2 N columns_2"]
) -> Float[Array, "*shape"]:
    """||P_1 - P_2||_F^2 / 2, the squared chordal distance of two subspaces.

    For subspaces of equal dimension it is the sum of the squared sines of the principal angles, between 0 and the
    dimension. It is smooth everywhere; its root, the chordal distance itself, is not at equal subspaces
    (`risjax.linalg.safe_sqrt`). It is computed from the part of U_1 orthogonal to the second subspace,
    ||(I - P_2) U_1||_F^2, so that small angles keep their relative accuracy.

    Args:
        first: an orthonormal basis U_1 as columns, [..., N, columns] with columns < N, or a projector P_1,
            [..., N, N], full precision. A square matrix is taken as a projector.
        second: the same, on the same N. The batch axes broadcast.

    Returns:
        [...], real. Neither orthonormality nor P^2 = P is checked.

    Raises:
        ValueError: half precision, or different N.

    Example:
        Two lines at 30 degrees, sin(30 deg)^2 = 0.25:

        >>> line, other = jnp.array([[1.0], [0.0]]), jnp.array([[3.0**0.5], [1.0]]) / 2
        >>> round(float(subspace_distance(line, other)), 6)
        0.25
    """
    require_full_precision(first, second, where="subspace_distance")
    if first.ndim < 2 or second.ndim < 2 or first.shape[-2] != second.shape[-2]:
        raise ValueError(
            f"subspace_distance got shapes {first.shape} and {second.shape}, expected bases [..., N, columns] or "
            "projectors [..., N, N] with the same N"
        )
    if _is_projector(first) and _is_projector(second):
        return 0.5 * _energy(first - second)
    return 0.5 * (_energy(first - _project(second, first)) + _energy(second - _project(first, second)))


def _is_projector(array: Array) -> bool:
    return array.shape[-1] == array.shape[-2]


def _project(subspace: Array, columns: Array) -> Array:
    if _is_projector(subspace):
        return matmul(subspace, columns)
    return matmul(subspace, matmul(adjoint(subspace), columns))


def _energy(array: Array) -> Array:
    return jnp.sum(modulus_squared(array), axis=(-2, -1))
