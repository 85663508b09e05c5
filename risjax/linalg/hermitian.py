"""Helpers for Hermitian matrices: accepted dtypes, adjoint, product, eigenvectors, and the broadened reciprocal."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Shaped

TAU = 1.0e-4
"""Default broadening tau of eigenvalue gaps, in units of the mean modulus of the eigenvalues (1 at trace N)."""


def require_full_precision(*arrays: Array, where: str) -> None:
    """Raise unless every array is float32, float64, complex64 or complex128.

    Raises:
        ValueError: at trace time. Half precision has no ``eigh``, ``cholesky`` or ``solve`` in JAX, and its relative
            error of 1e-3 remains after any later cast.
    """
    for array in arrays:
        if array.dtype not in (jnp.float32, jnp.float64, jnp.complex64, jnp.complex128):
            raise ValueError(
                f"{where} got {array.dtype}, expected float32, float64, complex64 or complex128. "
                "Upcast the whole prediction and label pytrees before the loss: risjax.precision.upcast(tree)."
            )


def require_square(matrix: Array, *, where: str) -> None:
    """Raise unless a matrix is square, with any leading batch axes, in full precision.

    Raises:
        ValueError: at trace time.
    """
    require_full_precision(matrix, where=where)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"{where} got shape {matrix.shape}, expected square matrices [..., N, N]")


def oriented(matrix: Array, which: str, *, where: str) -> Array:
    """The matrix for ``which="largest"``, its negative, whose largest eigenvalues are the smallest, for "smallest".

    Raises:
        ValueError: another ``which``.
    """
    if which not in ("largest", "smallest"):
        raise ValueError(f"{where} got which={which!r}, expected 'largest' or 'smallest'")
    return matrix if which == "largest" else -matrix


def require_count(k: Array | int, size: int, *, where: str) -> None:
    """Raise if a number of eigenvectors is an int outside 0..N; an array may be traced and is not checked.

    Raises:
        ValueError: at trace time.
    """
    if isinstance(k, int) and not 0 <= k <= size:
        raise ValueError(f"{where} got k = {k}, expected 0 to {size} for matrices of size {size}")


def over_batch(function: Callable, signature: str) -> Callable:
    """A function of single arrays, mapped over broadcast leading axes.

    As `jnp.vectorize`, also where ``jax_numpy_rank_promotion`` is "raise".

    Args:
        function: of single arrays, the core axes of the signature.
        signature: as in `jnp.vectorize`, for example ``"(n,n),()->(n,n)"``.
    """
    core_axes = [
        len(names.split(",")) if names else 0 for names in re.findall(r"\(([^)]*)\)", signature.split("->")[0])
    ]
    vectorised = jnp.vectorize(function, signature=signature)

    def mapped(*arrays: Array) -> Any:
        batch = max(array.ndim - axes for array, axes in zip(arrays, core_axes, strict=True))
        missing = (batch - (array.ndim - axes) for array, axes in zip(arrays, core_axes, strict=True))
        return vectorised(*(array[(None,) * count] for array, count in zip(arrays, missing, strict=True)))

    return mapped


def adjoint(matrix: Inexact[Array, "*batch rows columns"]) -> Inexact[Array, "*batch columns rows"]:
    """Conjugate transpose of the last two axes."""
    return jnp.swapaxes(matrix, -1, -2).conj()


def matmul(left: Shaped[Array, "..."], right: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """Matrix product in full precision: float32 would otherwise run as TF32 on recent NVIDIA GPUs."""
    return jnp.matmul(left, right, precision="highest")


def real_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """float32 for complex64, float64 for complex128, a real dtype itself."""
    return jnp.finfo(dtype).dtype


def modulus_squared(array: Inexact[Array, "*shape"]) -> Float[Array, "*shape"]:
    """|z|^2, differentiable everywhere (unlike the square of `jnp.abs`)."""
    return jnp.real(array) ** 2 + jnp.imag(array) ** 2 if jnp.iscomplexobj(array) else array**2


def scaled_broadening(tau: float, modulus_sum: Float[Array, ""], size: int) -> Float[Array, ""]:
    """tau sum |lambda_i| / N, the broadening in a matrix's own units: its subspaces do not depend on its scale.

    Args:
        tau: broadening relative to the mean modulus of the eigenvalues.
        modulus_sum: sum of |lambda_i|, []; the trace of a positive semi-definite matrix.
        size: N.

    Returns:
        [], without gradient; tau itself for a matrix that is zero to the dtype's smallest normal number.
    """
    scaled = modulus_sum * (tau / size)
    return jax.lax.stop_gradient(jnp.where(scaled >= jnp.finfo(modulus_sum.dtype).tiny, scaled, tau))


def broadened_reciprocal(gap: Float[Array, "*shape"], tau: Float[Array, ""] | float) -> Float[Array, "*shape"]:
    """delta / (delta^2 + tau^2), in place of 1 / delta.

    Bounded by 1 / (2 tau), zero at a vanishing gap, odd; its bias relative to 1 / delta is
    tau^2 / (delta^2 + tau^2), that is 1e-4 at a gap of a hundred tau. No square of a gap is ever formed that could
    overflow or underflow: the two branches work with tau / delta and delta / tau, each at most 1.
    """
    wide = jnp.abs(gap) > tau
    large = jnp.where(wide, gap, 1.0)
    small = jnp.where(wide, 0.0, gap) / tau
    return jnp.where(wide, 1.0 / (large * (1.0 + (tau / large) ** 2)), small / (tau * (1.0 + small**2)))


def descending_mask(count: int, num_sources: Array, dtype: jnp.dtype) -> Float[Array, " count"]:
    """1 for the first ``num_sources`` of ``count`` slots, 0 for the rest; ``num_sources`` may be traced."""
    return (jnp.arange(count) < num_sources).astype(dtype)


def hermitian_part(matrix: Inexact[Array, "*batch N N"]) -> Inexact[Array, "*batch N N"]:
    """(A + A^H) / 2."""
    return 0.5 * (matrix + adjoint(matrix))


def eigh_descending(
    matrix: Inexact[Array, "*batch N N"],
) -> tuple[Float[Array, "*batch N"], Inexact[Array, "*batch N N"]]:
    """Eigenvalues, largest first, and their eigenvectors as columns, of the Hermitian part."""
    eigenvalues, eigenvectors = jnp.linalg.eigh(matrix, symmetrize_input=True)
    return eigenvalues[..., ::-1], eigenvectors[..., ::-1]
