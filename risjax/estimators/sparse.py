"""Sparse covariance fitting for per-snapshot symbols: maximum-likelihood powers of grid points.

====== ============================================================ =========
symbol meaning                                                      shape
====== ============================================================ =========
d_gl   H diag(c_l) a_g, image of grid point g in snapshot l         [M]
p_g    power of grid point g                                        [G]
C_l    sum_g p_g d_gl d_gl^H + sigma^2 I, covariance of y_l         [M, M]
====== ============================================================ =========

With per-snapshot symbols there is no common field: each snapshot has 16 equations for 144 unknowns. The powers are
common to all snapshots. They and the noise variance minimise sum_l log det C_l + y_l^H C_l^-1 y_l. Each
majorisation-minimisation step lowers this objective:

    p_g <- p_g sqrt(sum_l |d_gl^H C_l^-1 y_l|^2 / sum_l d_gl^H C_l^-1 d_gl),  sigma^2 likewise.

The minimum is sparse, as in SPICE and sparse Bayesian learning, and has no regularisation parameter. Off the grid, the
power of a steering vector under the final C_l, (sum_l |d^H C_l^-1 y_l|^2) L / (sum_l d^H C_l^-1 d)^2, is maximised.
Stochastic maximum likelihood (`risjax.estimators.stochastic`) refines the result.

float32: C_l contains sigma^2 of at least 1e-4 of the mean power of the snapshots.

References:
    Y. Sun, P. Babu, D. P. Palomar, "Robust estimation of structured covariance matrix for heavy-tailed elliptical
    distributions", IEEE Transactions on Signal Processing 64 (2016), doi:10.1109/TSP.2016.2546222.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.estimators.interface import Search, snapshot_estimator
from risjax.estimators.likelihood import require_snapshots
from risjax.estimators.stochastic import polish_stochastic
from risjax.spectral.peak_search import search_cost
from risjax.types import Estimates, Observation

_NOISE_FLOOR = 1e-4


def _precisions(
    images: Complex[Array, "L G M"], powers: Float[Array, " G"], noise: Float[Array, ""]
) -> Complex[Array, "L M M"]:
    weighted = jnp.swapaxes(images, 1, 2) * powers[None, None, :]
    covariance = jnp.matmul(weighted, images.conj(), precision="highest")
    identity = jnp.eye(images.shape[-1], dtype=images.dtype)
    lower = jnp.linalg.cholesky(covariance + noise * identity[None])
    return jax.vmap(lambda factor: jax.scipy.linalg.cho_solve((factor, True), identity))(lower)


def fit_powers(
    observation: Observation, steering: Complex[Array, "G N"], *, iterations: int
) -> tuple[Float[Array, " G"], Float[Array, ""]]:
    """Powers of the grid points and noise variance, one scene.

    Args:
        observation: snapshots, channel and codes.
        steering: unit-norm steering vectors of the grid.
        iterations: number of majorisation-minimisation steps; each lowers the objective.
    """
    snapshots, channel, codes = observation[:3]
    images = jnp.matmul(codes[:, None, :] * steering[None, :, :], channel.T, precision="highest")
    mean_power = jnp.mean(jnp.abs(snapshots) ** 2)

    def body(_: Array | int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        powers, noise = state
        precisions = _precisions(images, powers, noise)
        whitened = jnp.matmul(precisions, snapshots[:, :, None], precision="highest")[:, :, 0]
        matched = jnp.sum(images.conj() * whitened[:, None, :], axis=-1)
        spread = jnp.sum(
            (images.conj() * jnp.matmul(images, jnp.swapaxes(precisions, 1, 2), precision="highest")).real, -1
        )
        gain = jnp.sum(jnp.abs(matched) ** 2, axis=0) / jnp.sum(spread, axis=0)
        traces = jnp.sum(jnp.trace(precisions, axis1=1, axis2=2).real)
        noise = noise * jnp.sqrt(jnp.sum(jnp.abs(whitened) ** 2) / traces)
        return powers * jnp.sqrt(gain), jnp.maximum(noise, _NOISE_FLOOR * mean_power)

    energy = jnp.sum(jnp.abs(images) ** 2, axis=(0, 2))
    filtered = jnp.sum(images.conj() * snapshots[:, None, :], axis=-1)
    start = jnp.sum(jnp.abs(filtered) ** 2, axis=0) / energy**2 * images.shape[0] / steering.shape[0]
    return jax.lax.fori_loop(0, iterations, body, (start, 0.1 * mean_power))


@snapshot_estimator(lambda estimator: estimator.sparse.grid)
def localise_sparse(observation: Observation, search: Search) -> Estimates:
    """Sources by sparse covariance fitting, a `SnapshotEstimator`; batch by `jax.lax.map`, because a scene needs L G M
    numbers.

    The method is for ``per_snapshot`` symbols, to which the likelihood methods do not apply. It is valid for
    ``constant`` symbols too, but does not use the phases between snapshots. With unknown K it keeps powers within
    ``threshold_db`` of the highest.

    ``amplitude`` is the root of the power, without a phase; ``std`` that of the likelihood, inf without refinement;
    ``score`` the power relative to the highest in dB.
    """
    physics, estimator, num_sources, grid, _ = search
    require_snapshots(observation)
    powers, noise = fit_powers(observation, grid.steering, iterations=estimator.sparse.iterations)
    snapshots, channel, codes = observation[:3]
    images = jnp.matmul(codes[:, None, :] * grid.steering[None, :, :], channel.T, precision="highest")
    precisions = _precisions(images, powers, noise)
    whitened = jnp.matmul(precisions, snapshots[:, :, None], precision="highest")[:, :, 0]
    back = codes.conj() * jnp.matmul(whitened, channel.conj(), precision="highest")
    middle = jnp.matmul(
        jnp.matmul(channel.conj().T[None], precisions, precision="highest"), channel, precision="highest"
    )
    energy = jnp.sum(codes.conj()[:, :, None] * middle * codes[:, None, :], axis=0)
    count = codes.shape[0]

    def cost(vectors: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
        matched = jnp.einsum("ln,...n->l...", back.conj(), vectors, precision="highest")
        spread = jnp.sum((vectors.conj() * jnp.matmul(vectors, energy.T, precision="highest")).real, axis=-1)
        tiny = jnp.finfo(spread.dtype).tiny
        power = jnp.sum(matched.real**2 + matched.imag**2, axis=0) * count / jnp.maximum(spread, tiny) ** 2
        return -jnp.log(jnp.maximum(power, tiny))

    searched = estimator.model_copy(update={"grid": estimator.sparse.grid})
    found = search_cost(cost, lambda costs: jnp.exp(-costs), physics, searched, num_sources, grid, observation.geometry)
    if not estimator.sparse.polish_iterations:
        return found
    return polish_stochastic(observation, found, physics, iterations=estimator.sparse.polish_iterations)
