"""MUSIC: nulls of the noise subspace, on the low-rank form of a covariance.

The K leading eigenvectors U_s of R = F F^H + delta I are those of F F^H, which come from the small Gram matrix
F^H F. The cost 1 - ||U_s^H a||^2, the share of a steering vector outside the signal subspace, is zero at a source.

MUSIC has to know K. Blind, it takes the number of eigenvalues that stand out (`model_order.count_by_gap`). On a
coherent rank-one covariance (constant symbols, R = x x^H) the signal subspace is the field itself and holds one
dimension for all sources: with K sources of distinct powers the peaks lie near the strongest ones, biased, and the
weaker may be lost. Use the measurement-domain methods there.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.estimators.model_order import count_by_gap
from risjax.spectral.grid import Grid, grid_like
from risjax.spectral.peak_search import search_cost
from risjax.types import Estimates, Geometry, LowRankCovariance


def signal_basis(
    covariance: LowRankCovariance, num_sources: Int[Array, ""]
) -> tuple[Complex[Array, "N rank"], Float[Array, " rank"]]:
    """Orthonormal columns that span the signal subspace, zero beyond ``num_sources``, and the eigenvalues of F F^H.

    float32: an eigenvalue below 1e-6 of the largest is noise of the computation and its column is zeroed.
    """
    factor = covariance.factor
    small = jnp.matmul(factor.conj().T, factor, precision="highest")
    values, vectors = jnp.linalg.eigh(small)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = values.shape[0]
    used = (jnp.arange(rank) < num_sources) & (values > 1e-6 * values[0]) & (values > 0)
    scale = jnp.where(used, jax.lax.rsqrt(jnp.where(used, values, 1.0)), 0.0)
    return jnp.matmul(factor, vectors, precision="highest") * scale[None, :], values


def localise_music(
    covariance: LowRankCovariance,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    num_sources: Int[Array, ""] | None = None,
    *,
    grid: Grid | None = None,
    geometry: Geometry | None = None,
) -> Estimates:
    """Sources at the nulls of the noise subspace, one scene; batch by vmap.

    Args:
        covariance: R = F F^H + delta I.
        physics: array, field of view, slots.
        estimator: grid and refinement.
        num_sources: K; None estimates it from the eigenvalues.
        grid: the search grid; None takes the one of the two configs.
        geometry: ``observation.geometry``, of the scene's own surface where the receiver knows it.

    Returns:
        K_max slots, deepest null first. ``amplitude`` is zero (MUSIC knows no powers), ``std`` inf, ``score`` the
        pseudospectrum relative to the scene's highest in dB.
    """
    grid = grid_like(covariance.factor, physics, estimator.grid, grid, geometry)
    if num_sources is None:
        _, values = signal_basis(covariance, jnp.asarray(covariance.factor.shape[1]))
        num_sources = jnp.minimum(count_by_gap(values + covariance.loading), physics.scene.max_sources)
    basis, _ = signal_basis(covariance, num_sources)

    def cost(vectors: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
        image = jnp.einsum("nr,...n->r...", basis.conj(), vectors, precision="highest")
        floor = 4 * jnp.finfo(image.real.dtype).eps
        return jnp.maximum(1.0 - jnp.sum(image.real**2 + image.imag**2, axis=0), floor)

    found = search_cost(cost, lambda costs: 1.0 / costs, physics, estimator, num_sources, grid, geometry)
    return found._replace(amplitude=jnp.zeros_like(found.amplitude))


def localise_music_2_5d(
    covariance: LowRankCovariance,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    num_sources: Int[Array, ""] | None = None,
    *,
    grid: Grid | None = None,
    geometry: Geometry | None = None,
) -> Estimates:
    """MUSIC with one source a direction: arguments and answer as `localise_music`.

    Nulls within ``min_separation`` of one another in (u, v) are one source whatever their ranges, the deepest: a
    weak source whose null is a ridge along its range gives one answer instead of several. Two sources in one
    direction it cannot tell apart.
    """
    single = estimator.model_copy(update={"min_range_separation": 1e3})
    return localise_music(covariance, physics, single, num_sources, grid=grid, geometry=geometry)
