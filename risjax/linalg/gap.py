"""Gap between the eigenvalues at the cut, which decides how accurate a derivative of the projector is."""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Integer

from risjax.linalg.hermitian import TAU, oriented, over_batch, require_count, require_square, scaled_broadening


class Eigengap(NamedTuple):
    """Gap across the cut of a Hermitian matrix, and its effect on derivatives of the projector.

    Attributes:
        gap: |lambda_k - lambda_{k+1}|, [...]; inf for k = 0 and k = N, where nothing is cut.
        relative: the gap in units of the mean modulus of the eigenvalues, [...]. Perturbation theory bounds the angle
            between the subspaces of A and A + E by the norm of E over the gap (Davis and Kahan).
        bias: relative bias tau^2 / (relative^2 + tau^2) of the broadened derivative for lambda_k and
            lambda_{k+1}, [...]; 0.5 where the gap has the size of the broadening, 1 where the two are equal.
    """

    gap: Float[Array, "*batch"]
    relative: Float[Array, "*batch"]
    bias: Float[Array, "*batch"]


def eigengap(
    matrix: Inexact[Array, "*batch N N"],
    k: Integer[Array, "*counts"] | int,
    *,
    which: Literal["largest", "smallest"] = "largest",
    tau: float = TAU,
) -> Eigengap:
    """Return the gap between the k-th and the (k+1)-th eigenvalue, without derivative.

    Args:
        matrix: A, Hermitian (its Hermitian part is used), [..., N, N], full precision.
        k: number of eigenvectors, as in `risjax.linalg.signal_projector`.
        which: eigenvalues are counted from the ``"largest"`` or from the ``"smallest"``.
        tau: broadening of `risjax.linalg.signal_projector`.

    Returns:
        Gap, relative gap and bias, each [...] and real.

    Raises:
        ValueError: half precision, a matrix that is not square, an int outside 0..N, an unknown ``which``.

    Example:
        >>> eigengap(jnp.diag(jnp.array([4.0, 3.0, 1.0])), 2).gap.tolist()
        2.0

    References:
        C. Davis, W. M. Kahan, "The rotation of eigenvectors by a perturbation. III", SIAM Journal on Numerical
        Analysis 7 (1970), doi:10.1137/0707001.
    """
    require_square(matrix, where="eigengap")
    require_count(k, matrix.shape[-1], where="eigengap")
    signed = jax.lax.stop_gradient(oriented(matrix, which, where="eigengap"))
    of_matrix = over_batch(partial(_of_matrix, tau=tau), "(n,n),()->(),(),()")
    return Eigengap(*of_matrix(signed, jnp.asarray(k)))


def _of_matrix(matrix: Array, k: Array, *, tau: float) -> tuple[Array, Array, Array]:
    values = jnp.linalg.eigvalsh(matrix, symmetrize_input=True)[::-1]
    size = values.shape[0]
    broadening = scaled_broadening(tau, jnp.sum(jnp.abs(values)), size)
    is_cut = (k > 0) & (k < size)
    index = jnp.clip(k, 1, max(size - 1, 1))
    gap = jnp.where(is_cut, values[index - 1] - values[jnp.minimum(index, size - 1)], jnp.inf)
    ratio = gap / broadening
    return gap, tau * ratio, 1.0 / (1.0 + ratio**2)
