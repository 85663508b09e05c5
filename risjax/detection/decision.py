"""From probabilities to sources: how many, and at which range.

The range of a weak far source is hardly in the data, so its posterior is wide, skewed and cut off by the field of
view; the likelihood's maximum often lies on the edge. What is reported is the range that serves a tolerance and a
distance in metres best in expectation.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from risjax.detection.candidate_features import RangeLikelihood
from risjax.spectral.grid import Field

NUM_POINTS = 65
"""Quadrature points of a range posterior."""
_REACH = 4.0


class RangePosterior(NamedTuple):
    """A posterior over inverse range as weighted points.

    Attributes:
        s: 1/r, ascending [1/m], [K, Q].
        log_density: of s, normalised, [K, Q].
        weight: probability of each point's surroundings, sums to one, [K, Q].
    """

    s: Float[Array, "*batch K Q"]
    log_density: Float[Array, "*batch K Q"]
    weight: Float[Array, "*batch K Q"]


def knots(field: Field, num_knots: int, dtype: DTypeLike = jnp.float32) -> Float[Array, " B"]:
    """Ranges at which a log-prior is given, uniform over the field of view [m]."""
    return jnp.linspace(1.0 / field.s[1], 1.0 / field.s[0], num_knots, dtype=dtype)


def log_prior(log_density: Float[Array, "K B"], range_m: Float[Array, "K Q"], field: Field) -> Float[Array, "K Q"]:
    """The log-density over range, given at `knots`, at other ranges: linear in between."""
    least, most = 1.0 / field.s[1], 1.0 / field.s[0]
    last = log_density.shape[-1] - 1
    place = jnp.clip((range_m - least) / (most - least), 0.0, 1.0) * last
    low = jnp.clip(jnp.floor(place).astype(int), 0, last - 1)
    share = place - low
    lower = jnp.take_along_axis(log_density, low, axis=-1)
    upper = jnp.take_along_axis(log_density, low + 1, axis=-1)
    return (1.0 - share) * lower + share * upper


def range_posterior(likelihood: RangeLikelihood, log_density: Float[Array, "K B"], field: Field) -> RangePosterior:
    """Likelihood times prior over the inverse range, inside the field of view and within four standard deviations.

    Args:
        likelihood: of each candidate.
        log_density: log-prior over *range* at `knots`, up to a constant; zeros are a range uniform in metres.
        field: bounds of 1/r.
    """
    least, most = field.s
    tilt = likelihood.slope * likelihood.std**2  # the quadratic's own peak lies beyond the field where it is held back
    reach = _REACH * likelihood.std + jnp.abs(tilt)
    start = jnp.clip(likelihood.peak - reach, least, most)
    end = jnp.clip(likelihood.peak + reach, least, most)
    unit = jnp.linspace(0.0, 1.0, NUM_POINTS, dtype=start.dtype)
    width = jnp.maximum(end - start, 1e-7)
    s = start[:, None] + width[:, None] * unit[None, :]
    offset = s - likelihood.peak[:, None]
    logs = -0.5 * (offset / likelihood.std[:, None]) ** 2 + likelihood.slope[:, None] * offset
    logs = logs + log_prior(log_density, 1.0 / s, field) - 2.0 * jnp.log(s)  # dr = ds / s^2
    trapezoid = jnp.ones(NUM_POINTS, s.dtype).at[0].set(0.5).at[-1].set(0.5)
    logs = logs - jnp.max(logs, axis=-1, keepdims=True)
    mass = jnp.exp(logs) * trapezoid[None, :]
    total = jnp.sum(mass, axis=-1, keepdims=True)
    cell = width[:, None] / (NUM_POINTS - 1)
    return RangePosterior(s, logs - jnp.log(total * cell), mass / total)


class RangeDecision(NamedTuple):
    """What is reported of a range.

    Attributes:
        range_m: [K].
        std_m: posterior standard deviation of 1/r about it, as one of r [m], [K].
        within: probability that the true range lies within the window, [K].
    """

    range_m: Float[Array, "*batch K"]
    std_m: Float[Array, "*batch K"]
    within: Float[Array, "*batch K"]


def decide_range(posterior: RangePosterior, window_m: float) -> RangeDecision:
    """The range of the largest expected utility 1[d <= w] - min(d, 2w) / 2w, d the distance to the true one.

    Its first part counts what a tolerance of w metres accepts, its second what a metric that is cut off at 2w
    charges. The posterior's mean competes with its points, and wins where the posterior is narrow.
    """
    range_m = 1.0 / posterior.s
    mean = jnp.sum(posterior.weight * range_m, axis=-1, keepdims=True)
    centres = jnp.concatenate([mean, range_m], axis=-1)
    distance = jnp.abs(range_m[:, None, :] - centres[:, :, None])
    weight = posterior.weight[:, None, :]
    within = jnp.sum(jnp.where(distance <= window_m, weight, 0.0), axis=-1)
    charged = jnp.sum(jnp.minimum(distance, 2 * window_m) * weight, axis=-1) / (2 * window_m)
    best = jnp.argmax(within - charged, axis=-1)[:, None]
    chosen = jnp.take_along_axis(centres, best, axis=-1)
    variance = jnp.sum(posterior.weight * (posterior.s - 1.0 / chosen) ** 2, axis=-1)
    std_m = jnp.sqrt(variance) * chosen[:, 0] ** 2
    return RangeDecision(chosen[:, 0], std_m, jnp.take_along_axis(within, best, axis=-1)[:, 0])


def decide_count(
    existence: Float[Array, " K"],
    within: Float[Array, " K"],
    held: Bool[Array, " K"],
    *,
    threshold: float,
    range_share: float,
) -> Int[Array, ""]:
    """How many candidates of an elimination to report: the number with the largest sum of (utility - threshold).

    A candidate's utility is a weighted mean of the probabilities that it is a source, and that it is one whose reported
    range is right: of two metrics, one that asks for the angles and one that asks for the range too, each would have
    it reported from half of its attainable F1 on (Dinkelbach, Management Science 13, 1967).

    Args:
        existence: probability of the candidate that makes k out of k - 1, for k = 1 ... K.
        within: probability that its range lies within the window if it is a source.
        held: which of these fits there are.
        threshold: utility from which on a candidate is worth reporting.
        range_share: the weight, between 0 and 1, of the metric that asks for the range.
    """
    utility = existence * (1.0 - range_share + range_share * within)
    gain = jnp.cumsum(jnp.where(held, utility - threshold, -jnp.inf))
    return jnp.argmax(jnp.concatenate([jnp.zeros(1, gain.dtype), gain]))
