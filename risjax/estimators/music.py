"""MUSIC: minima of the distance of steering vectors from the signal subspace of a low-rank covariance.

The K leading eigenvectors U_s of R = F F^H + delta I are those of F F^H, which come from the small Gram matrix
F^H F. The cost 1 - ||U_s^H a||^2, the share of a steering vector outside the signal subspace, is zero at a source.

MUSIC needs K. Without it, ``estimator.order`` is the criterion, by default the number of large eigenvalues
(`model_order.count_by_gap`). For the rank-one
covariance of constant symbols, R = x x^H, the signal subspace is spanned by the field itself and has one dimension for
all sources. The peaks are then biased and near the strongest sources, and weaker sources may be missed: use the
measurement-domain methods there.

References:
    R. O. Schmidt, "Multiple emitter location and signal parameter estimation", IEEE Transactions on Antennas and
    Propagation 34 (1986), doi:10.1109/TAP.1986.1143830.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.config.estimator import Order
from risjax.estimators.interface import NotApplicableError, Search, covariance_estimator
from risjax.estimators.model_order import count_by
from risjax.linalg import LowRankCovariance
from risjax.spectral.peak_search import search_cost
from risjax.types import Estimates


def signal_basis(
    covariance: LowRankCovariance, num_sources: Int[Array, ""]
) -> tuple[Complex[Array, "N rank"], Float[Array, " rank"]]:
    """Orthonormal basis of the signal subspace, zero beyond ``num_sources``, and the eigenvalues of F F^H.

    Columns of eigenvalues below 1e-6 of the largest are zero, because float32 does not resolve them.
    """
    factor = covariance.factor
    small = jnp.matmul(factor.conj().T, factor, precision="highest")
    values, vectors = jnp.linalg.eigh(small)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = values.shape[0]
    used = (jnp.arange(rank) < num_sources) & (values > 1e-6 * values[0]) & (values > 0)
    scale = jnp.where(used, jax.lax.rsqrt(jnp.where(used, values, 1.0)), 0.0)
    return jnp.matmul(factor, vectors, precision="highest") * scale[None, :], values


@covariance_estimator
def localise_music(covariance: LowRankCovariance, search: Search) -> Estimates:
    """Sources at the nulls of the noise subspace, a `CovarianceEstimator`.

    With unknown K, the number of sources follows from the eigenvalues by ``estimator.order``. ``amplitude`` is zero,
    because MUSIC estimates no powers. ``score`` is the pseudospectrum relative to the highest peak of the scene in dB;
    the deepest null is the first source.
    """
    return _music(covariance, search)


@covariance_estimator
def localise_music_2_5d(covariance: LowRankCovariance, search: Search) -> Estimates:
    """MUSIC with at most one source in each direction, a `CovarianceEstimator`; result as of `localise_music`.

    Of nulls within ``min_separation`` in (u, v) only the deepest is kept, whatever their ranges. A weak source, whose
    null extends along its range, then gives one estimate instead of several. Two sources in the same direction cannot
    be separated.
    """
    single = search.estimator.model_copy(update={"min_range_separation": 1e3})
    return _music(covariance, search._replace(estimator=single))


def _music(covariance: LowRankCovariance, search: Search) -> Estimates:
    num_sources = search.num_sources
    if num_sources is None:
        num_sources = count_in_covariance(covariance, search.estimator.order, search.physics.scene.max_sources)
    basis, _ = signal_basis(covariance, jnp.asarray(num_sources))

    def cost(vectors: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
        image = jnp.einsum("nr,...n->r...", basis.conj(), vectors, precision="highest")
        floor = 4 * jnp.finfo(image.real.dtype).eps
        return jnp.maximum(1.0 - jnp.sum(image.real**2 + image.imag**2, axis=0), floor)

    found = search_cost(cost, lambda costs: 1.0 / costs, *search._replace(num_sources=num_sources))
    return found._replace(amplitude=jnp.zeros_like(found.amplitude))


def count_in_covariance(covariance: LowRankCovariance, order: Order, max_sources: int) -> Int[Array, ""]:
    """Return the number of sources by a criterion for the eigenvalues of a covariance, at most K_max.

    The criteria are applied to the eigenvalues of F^H F, [rank], as a covariance of as many variables with N samples,
    the elements.

    Args:
        covariance: R = F F^H + delta I.
        order: the criterion, see `risjax.estimators.model_order`.
        max_sources: K_max.

    Raises:
        NotApplicableError: another criterion than ``gap`` for a factor of one column, which has no noise eigenvalues.
    """
    num_elements, rank = covariance.factor.shape
    if rank == 1 and order != "gap":
        raise NotApplicableError(
            f"got estimator.order = {order} for a covariance of rank 1, expected gap: constant symbols give one image "
            "of the field and no noise eigenvalues; give num_sources, or measure with symbols that change from "
            "snapshot to snapshot (physics.scene.symbols = per_snapshot)"
        )
    _, values = signal_basis(covariance, jnp.asarray(rank))
    return jnp.minimum(count_by(order, values + covariance.loading, num_elements), max_sources)
