"""Spectra of low-rank covariances over a grid of steering vectors, and the same functions off the grid.

====== =========================================================== ===========
symbol meaning                                                     shape
====== =========================================================== ===========
R      F F^H + delta I                                             [N, N]
W      L^-1 F^H with L L^H = delta I + F^H F, so that              [rank, N]
       delta R^-1 = I - W^H W (Woodbury)
q      delta a^H R^-1 a = 1 - ||W a||^2, in (0, 1]                 []
====== =========================================================== ===========

The spectrum of a grid is one matrix product of its G steering vectors with the rank columns of F; nothing
of size G x N x N or N x N is formed. All of it runs in the dtype of the covariance with full matmul precision.
float32 suffices for delta >= 1e-4 at trace N: q is a difference of numbers of size one, so its absolute error
is about 1e-6, while q >= delta / trace at an exact source.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.linalg import LowRankCovariance


def whitener(covariance: LowRankCovariance) -> Complex[Array, "rank N"]:
    """Return W of the module's table."""
    factor, loading = covariance
    rank = factor.shape[-1]
    small = jnp.matmul(factor.conj().T, factor, precision="highest") + loading * jnp.eye(rank, dtype=factor.dtype)
    lower = jnp.linalg.cholesky(small)
    return jax.scipy.linalg.solve_triangular(lower, factor.conj().T, lower=True)


def mvdr_cost(whitening: Complex[Array, "rank N"], vectors: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
    """Return q = delta a^H R^-1 a for unit-norm ``vectors``; the MVDR spectrum is delta / q."""
    # In real numbers: XLA's complex product of these shapes takes 1.4 times as long on a CPU. And rank x points, not
    # points x rank: under vmap over scenes that is 1.8 times faster there.
    rows = jnp.block([[whitening.real, -whitening.imag], [whitening.imag, whitening.real]])
    columns = jnp.concatenate([vectors.real, vectors.imag], axis=-1)
    image = jnp.einsum("rn,...n->r...", rows, columns, precision="highest")
    floor = 4 * jnp.finfo(image.dtype).eps
    return jnp.maximum(1.0 - jnp.sum(image**2, axis=0), floor)


def mvdr_spectrum(covariance: LowRankCovariance, vectors: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
    """Return P = 1 / (a^H R^-1 a), the output power of the minimum-variance beamformer.

    Args:
        covariance: R with loading > 0.
        vectors: unit-norm steering vectors.

    Returns:
        Power in units of the covariance (trace N). NaN where the covariance is not finite or not loaded.
    """
    return covariance.loading / mvdr_cost(whitener(covariance), vectors)


def bartlett_spectrum(covariance: LowRankCovariance, vectors: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
    """Return P = a^H R a, the power of the conventional beamformer."""
    image = jnp.matmul(vectors, covariance.factor.conj(), precision="highest")
    return jnp.sum(image.real**2 + image.imag**2, axis=-1) + covariance.loading
