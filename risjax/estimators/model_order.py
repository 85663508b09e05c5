"""Estimates of the number of sources from eigenvalues of a covariance.

====== ===========================================================
symbol meaning
====== ===========================================================
l_i    eigenvalues of a covariance, largest first, i = 1 ... p
k      hypothesis: k sources, p - k equal noise eigenvalues
n      number of snapshots in the covariance
====== ===========================================================

They apply to per-snapshot symbols, for which the sample covariance has full signal rank. For constant symbols its rank
is one for every K: use the residuals of the measurement-domain fit,
`risjax.estimators.forward_selection.count_by_residual`. All functions compute in the eigenvalues' dtype. float32 is
sufficient, because only logarithms of ratios are compared.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from risjax.config.estimator import Order
from risjax.estimators.interface import NotApplicableError


def _log_sphericity(values: Float[Array, " p"]) -> Float[Array, " p"]:
    """log of (geometric over arithmetic mean of l_{k+1..p}) times p - k, for k = 0 ... p - 1."""
    size = values.shape[0]
    safe = jnp.maximum(values, jnp.finfo(values.dtype).eps * jnp.maximum(values[0], jnp.finfo(values.dtype).tiny))
    left = size - jnp.arange(size, dtype=values.dtype)
    tail_logs = jnp.cumsum(jnp.log(safe)[::-1])[::-1]
    tail_sums = jnp.cumsum(safe[::-1])[::-1]
    return tail_logs - left * jnp.log(tail_sums / left)


def _count(values: Float[Array, " p"], num_snapshots: int, penalty: float | Float[Array, ""]) -> Int[Array, ""]:
    """The k that minimises -log-likelihood + penalty k (2p - k)."""
    size = values.shape[0]
    k = jnp.arange(size, dtype=values.dtype)
    return jnp.argmin(-num_snapshots * _log_sphericity(values) + penalty * k * (2 * size - k))


def count_by_mdl(values: Float[Array | np.ndarray, " p"], num_snapshots: int) -> Int[Array, ""]:
    """Minimum description length, -log-likelihood + k (2p - k) / 2 log n (Wax and Kailath 1985); consistent in n.

    Args:
        values: eigenvalues of a covariance, largest first, [p] real: ``np.linalg.eigvalsh(R)[::-1]``.
        num_snapshots: n.

    Returns:
        k, [] integer.

    Example:
        >>> import jax.numpy as jnp
        >>> int(count_by_mdl(jnp.asarray([9.0, 4.0, 1.1, 1.0, 0.9, 1.0]), 200))
        2

    References:
        M. Wax, T. Kailath, "Detection of signals by information theoretic criteria", IEEE Transactions on Acoustics,
        Speech, and Signal Processing 33 (1985), doi:10.1109/TASSP.1985.1164557.
    """
    return _count(jnp.asarray(values), num_snapshots, 0.5 * jnp.log(num_snapshots))


def count_by_aic(values: Float[Array | np.ndarray, " p"], num_snapshots: int) -> Int[Array, ""]:
    """Akaike's criterion, -log-likelihood + k (2p - k); overestimates with positive probability for every n.

    Args:
        values: eigenvalues of a covariance, largest first, [p] real: ``np.linalg.eigvalsh(R)[::-1]``.
        num_snapshots: n.

    Returns:
        k, [] integer.

    Example:
        >>> import jax.numpy as jnp
        >>> int(count_by_aic(jnp.asarray([9.0, 4.0, 1.1, 1.0, 0.9, 1.0]), 200))
        2

    References:
        M. Wax, T. Kailath, "Detection of signals by information theoretic criteria", IEEE Transactions on Acoustics,
        Speech, and Signal Processing 33 (1985), doi:10.1109/TASSP.1985.1164557.
    """
    return _count(jnp.asarray(values), num_snapshots, 1.0)


def count_by_sorte(values: Float[Array | np.ndarray, " p"]) -> Int[Array, ""]:
    """SORTE (He et al. 2010): the k that minimises the ratio of the variances of the gaps after k + 1 and after k.

    It needs at least four eigenvalues and finds 1 to p - 3 sources. It uses neither noise level nor snapshots.

    Args:
        values: eigenvalues of a covariance, largest first, [p] real: ``np.linalg.eigvalsh(R)[::-1]``.

    Returns:
        k, [] integer.

    Raises:
        NotApplicableError: fewer than four eigenvalues.

    Example:
        >>> import jax.numpy as jnp
        >>> int(count_by_sorte(jnp.asarray([9.0, 4.0, 1.1, 1.0, 0.9, 0.8])))
        2

    References:
        Z. He, A. Cichocki, S. Xie, K. Choi, "Detecting the number of clusters in n-way probabilistic clustering", IEEE
        Transactions on Pattern Analysis and Machine Intelligence 32 (2010), pp. 2006-2021.
    """
    values = jnp.asarray(values)
    size = values.shape[0]
    if size < 4:
        raise NotApplicableError(
            f"got {size} eigenvalues, expected at least 4, because SORTE compares the gaps between them; set "
            "estimator.order to another criterion"
        )
    gaps = values[:-1] - values[1:]
    count = size - 1 - jnp.arange(size - 1, dtype=values.dtype)
    mean = jnp.cumsum(gaps[::-1])[::-1] / count
    square = jnp.cumsum((gaps**2)[::-1])[::-1] / count
    variance = jnp.maximum(square - mean**2, 0.0)
    ratio = jnp.where(variance[:-1] > 0, variance[1:] / jnp.where(variance[:-1] > 0, variance[:-1], 1.0), jnp.inf)
    return jnp.argmin(ratio[:-1]) + 1


def count_by_gap(values: Float[Array, " p"], *, floor: float = 1e-3) -> Int[Array, ""]:
    """Number of eigenvalues above ``floor`` times the largest, for covariances that no snapshots determine."""
    return jnp.sum(values > floor * jnp.maximum(values[0], jnp.finfo(values.dtype).tiny))


def count_by(order: Order, values: Float[Array, " p"], num_snapshots: int) -> Int[Array, ""]:
    """Return the number of sources by the criterion ``estimator.order``.

    Args:
        order: its name.
        values: eigenvalues, largest first.
        num_snapshots: n.
    """
    match order:
        case "mdl":
            return count_by_mdl(values, num_snapshots)
        case "aic":
            return count_by_aic(values, num_snapshots)
        case "sorte":
            return count_by_sorte(values)
        case "gap":
            return count_by_gap(values)
