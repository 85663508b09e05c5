"""Decisions from probabilities: the number of sources, and their ranges.

The data contain little information about the range of a weak far source, so its posterior is wide, skewed and cut off
by the field of view, and the likelihood often has its maximum on the edge. The reported range maximises the expectation
of a utility that combines a tolerance with a distance in metres.
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
    """Return the ranges at which a log-prior is given, uniform over the field of view [m]."""
    return jnp.linspace(1.0 / field.s[1], 1.0 / field.s[0], num_knots, dtype=dtype)


def log_prior(log_density: Float[Array, "K B"], range_m: Float[Array, "K Q"], field: Field) -> Float[Array, "K Q"]:
    """Return a log-density over range, given at `knots`, at other ranges by linear interpolation."""
    least, most = 1.0 / field.s[1], 1.0 / field.s[0]
    last = log_density.shape[-1] - 1
    place = jnp.clip((range_m - least) / (most - least), 0.0, 1.0) * last
    low = jnp.clip(jnp.floor(place).astype(int), 0, last - 1)
    share = place - low
    lower = jnp.take_along_axis(log_density, low, axis=-1)
    upper = jnp.take_along_axis(log_density, low + 1, axis=-1)
    return (1.0 - share) * lower + share * upper


def range_posterior(likelihood: RangeLikelihood, log_density: Float[Array, "K B"], field: Field) -> RangePosterior:
    """Return likelihood times prior over the inverse range, within the field of view and four standard deviations.

    Args:
        likelihood: of each candidate.
        log_density: log-prior over *range* at `knots`, up to a constant; zeros are a range uniform in metres.
        field: bounds of 1/r.
    """
    least, most = field.s
    tilt = likelihood.slope * likelihood.std**2  # at an edge the quadratic has its peak outside the field
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
    """The reported ranges of the candidates of a fit.

    Attributes:
        range_m: [K].
        std_m: posterior standard deviation of 1/r, converted to metres of range, [K].
        within: probability that the true range lies within the window, [K].
    """

    range_m: Float[Array, "*batch K"]
    std_m: Float[Array, "*batch K"]
    within: Float[Array, "*batch K"]


def decide_range(posterior: RangePosterior, window_m: float | Float[Array, ""]) -> RangeDecision:
    """Return the range of the largest expected utility 1[d <= w] - min(d, 2w) / 2w, d the distance to the true range.

    The first term counts the ranges within a tolerance of w metres. The second is the cost in a metric that is cut off
    at 2w. The range is that of the best quadrature point, moved to the vertex of the parabola through its utility and
    those of its neighbours, and each point's weight is spread over its cell: the decision is then continuous in the
    posterior, except between two maxima of equal utility. The loss relative to the best utility is computed, since
    for a narrow posterior the utilities themselves differ by less than the resolution of float32.
    """
    step = posterior.s[:, 1:2] - posterior.s[:, :1]
    loss = _expected_loss(posterior, posterior.s, window_m)
    best = jnp.clip(jnp.argmin(loss, axis=-1)[:, None], 1, NUM_POINTS - 2)
    before, at, after = (jnp.take_along_axis(loss, best + offset, axis=-1) for offset in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = jnp.where(bend > 0, 0.5 * (before - after) / jnp.where(bend > 0, bend, 1.0), jnp.sign(before - after))
    s = jnp.take_along_axis(posterior.s, best, axis=-1) + jnp.clip(shift, -1.0, 1.0) * step
    variance = jnp.sum(posterior.weight * (posterior.s - s) ** 2, axis=-1)
    within = jnp.sum(posterior.weight * _coverage(posterior, s, window_m)[:, 0], axis=-1)
    range_m = 1.0 / s[:, 0]
    return RangeDecision(range_m, jnp.sqrt(variance) * range_m**2, within)


def _expected_loss(
    posterior: RangePosterior, s: Float[Array, "K C"], window_m: float | Float[Array, ""]
) -> Float[Array, "K C"]:
    """One less the expected utility of reporting each range 1 / s."""
    distance = _distance(posterior, s)
    outside = 1.0 - _coverage(posterior, s, window_m)
    return jnp.sum(posterior.weight[:, None] * (outside + jnp.minimum(distance / (2 * window_m), 1.0)), axis=-1)


def _coverage(
    posterior: RangePosterior, s: Float[Array, "K C"], window_m: float | Float[Array, ""]
) -> Float[Array, "K C Q"]:
    """Share of each quadrature point's cell that lies within the window about each range 1 / s."""
    cell_m = (posterior.s[:, 1:2] - posterior.s[:, :1]) / posterior.s**2
    cell_m = jnp.maximum(cell_m, jnp.finfo(cell_m.dtype).tiny)[:, None]
    return jnp.clip(0.5 + (window_m - _distance(posterior, s)) / cell_m, 0.0, 1.0)


def _distance(posterior: RangePosterior, s: Float[Array, "K C"]) -> Float[Array, "K C Q"]:
    """Distance of each quadrature point from each range 1 / s, in metres."""
    return jnp.abs(posterior.s[:, None] - s[..., None]) / (posterior.s[:, None] * s[..., None])


def decide_count(
    existence: Float[Array, " K"],
    within: Float[Array, " K"],
    held: Bool[Array, " K"],
    *,
    threshold: float | Float[Array, ""],
    range_share: float | Float[Array, ""],
) -> Int[Array, ""]:
    """Return the number of candidates of an elimination to report, the one with the largest sum of utility - threshold.

    A candidate's utility is a weighted mean of two probabilities: that it is a source, and that it is a source whose
    reported range is right. F1 in angle needs the first, F1 in 3-D the second. Each is maximised by reporting
    candidates from half the attainable F1 on (Dinkelbach, "On nonlinear fractional programming", Management Science
    13, 1967, doi:10.1287/mnsc.13.7.492).

    Args:
        existence: probability of the candidate that makes k out of k - 1, for k = 1 ... K.
        within: probability that its range lies within the window if it is a source.
        held: which of these fits exist.
        threshold: smallest utility of a reported candidate.
        range_share: weight of the second probability, between 0 and 1.
    """
    utility = existence * (1.0 - range_share + range_share * within)
    gain = jnp.cumsum(jnp.where(held, utility - threshold, -jnp.inf))
    return jnp.argmax(jnp.concatenate([jnp.zeros(1, gain.dtype), gain]))
