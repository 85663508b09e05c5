"""Loss of the posterior head: logarithmic losses of existence and of range.

Both are proper scores: their expectation is smallest for the true probabilities.

References:
    T. Gneiting, A. E. Raftery, "Strictly proper scoring rules, prediction, and estimation", Journal of the American
    Statistical Association 102 (2007), doi:10.1198/016214506000001437.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from risjax.detection.decision import RangePosterior

_FLOOR = -12.0
"""Smallest log-density that enters the loss, also for a true range outside the interval of the posterior."""


class PosteriorLoss(NamedTuple):
    """Means over candidates.

    Attributes:
        existence: binary cross-entropy [nat].
        range: negative log-density of the true inverse range [nat].
    """

    existence: Float[Array, ""]
    range: Float[Array, ""]


def existence_loss(
    logit: Float[Array, "*shape"], real: Bool[Array, "*shape"], counted: Bool[Array, "*shape"]
) -> Float[Array, ""]:
    """Mean binary cross-entropy over the counted candidates."""
    entropy = jax.nn.softplus(jnp.where(real, -logit, logit))
    return jnp.sum(jnp.where(counted, entropy, 0.0)) / jnp.maximum(jnp.sum(counted), 1)


def range_loss(
    posterior: RangePosterior, true_s: Float[Array, "*shape"], counted: Bool[Array, "*shape"]
) -> Float[Array, ""]:
    """Mean negative log-density at the true 1/r over the counted candidates, interpolated linearly between points."""
    s, logs = posterior.s, posterior.log_density
    last = s.shape[-1] - 1
    place = (true_s - s[..., 0]) / (s[..., -1] - s[..., 0]) * last
    inside = (place >= 0) & (place <= last)
    place = jnp.clip(place, 0.0, last)
    low = jnp.clip(jnp.floor(place).astype(int), 0, last - 1)
    share = place - low
    lower = jnp.take_along_axis(logs, low[..., None], axis=-1)[..., 0]
    upper = jnp.take_along_axis(logs, low[..., None] + 1, axis=-1)[..., 0]
    density = jnp.where(inside, jnp.maximum((1.0 - share) * lower + share * upper, _FLOOR), _FLOOR)
    return -jnp.sum(jnp.where(counted, density, 0.0)) / jnp.maximum(jnp.sum(counted), 1)
