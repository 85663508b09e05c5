"""How many sources there are, from eigenvalues.

====== ===========================================================
symbol meaning
====== ===========================================================
l_i    eigenvalues of a covariance, largest first, i = 1 ... p
k      hypothesis: k sources, p - k equal noise eigenvalues
n      snapshots behind the covariance
====== ===========================================================

These hold for per-snapshot symbols, where each snapshot draws the sources anew and the sample covariance has full
signal rank. For constant symbols it has rank one whatever K: use the residual of the measurement-domain fit,
`risjax.estimators.greedy.count_by_residual`. All run in the eigenvalues' dtype; float32 suffices, since only
logarithms of ratios are compared.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def _log_sphericity(values: Float[Array, " p"]) -> Float[Array, " p"]:
    """log of (geometric over arithmetic mean of l_{k+1..p}) times p - k, for k = 0 ... p - 1."""
    size = values.shape[0]
    safe = jnp.maximum(values, jnp.finfo(values.dtype).eps * jnp.maximum(values[0], jnp.finfo(values.dtype).tiny))
    left = size - jnp.arange(size, dtype=values.dtype)
    tail_logs = jnp.cumsum(jnp.log(safe)[::-1])[::-1]
    tail_sums = jnp.cumsum(safe[::-1])[::-1]
    return tail_logs - left * jnp.log(tail_sums / left)


def count_by_mdl(values: Float[Array, " p"], num_snapshots: int) -> Int[Array, ""]:
    """Minimum description length (Wax and Kailath 1985): -n log-likelihood + k (2p - k) / 2 log n. Consistent."""
    size = values.shape[0]
    k = jnp.arange(size, dtype=values.dtype)
    return jnp.argmin(-num_snapshots * _log_sphericity(values) + 0.5 * k * (2 * size - k) * jnp.log(num_snapshots))


def count_by_aic(values: Float[Array, " p"], num_snapshots: int) -> Int[Array, ""]:
    """Akaike's criterion: as MDL with k (2p - k); over-estimates with positive probability at any n."""
    size = values.shape[0]
    k = jnp.arange(size, dtype=values.dtype)
    return jnp.argmin(-num_snapshots * _log_sphericity(values) + k * (2 * size - k))


def count_by_sorte(values: Float[Array, " p"]) -> Int[Array, ""]:
    """SORTE (He et al. 2010): the k after which the gaps between eigenvalues have the least relative variance.

    Needs at least four eigenvalues and finds at most p - 3 sources; knows neither noise level nor snapshots.
    """
    size = values.shape[0]
    if size < 4:
        raise ValueError(f"SORTE compares gaps between eigenvalues and needs at least 4 of them, got {size}")
    gaps = values[:-1] - values[1:]
    count = size - 1 - jnp.arange(size - 1, dtype=values.dtype)
    mean = jnp.cumsum(gaps[::-1])[::-1] / count
    square = jnp.cumsum((gaps**2)[::-1])[::-1] / count
    variance = jnp.maximum(square - mean**2, 0.0)
    ratio = jnp.where(variance[:-1] > 0, variance[1:] / jnp.where(variance[:-1] > 0, variance[:-1], 1.0), jnp.inf)
    return jnp.argmin(ratio[:-1]) + 1


def count_by_gap(values: Float[Array, " p"], *, floor: float = 1e-3) -> Int[Array, ""]:
    """Eigenvalues above ``floor`` of the largest: for learned or label covariances, behind which no snapshots stand."""
    return jnp.sum(values > floor * jnp.maximum(values[0], jnp.finfo(values.dtype).tiny))
