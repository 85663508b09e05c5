"""Search for sources in a cost over steering vectors: grid, local minima, refinement, suppression, selection.

MVDR, MUSIC and Bartlett use it with different costs.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.physics.array import steering_at
from risjax.spectral.grid import Grid, to_position
from risjax.spectral.newton import refine
from risjax.spectral.peaks import choose, local_maxima, separate
from risjax.types import Estimates, Geometry

Cost = Callable[[Complex[Array, "*shape N"]], Float[Array, "*shape"]]


class Peaks(NamedTuple):
    """Separate peaks of a spectrum, refined off the grid, highest first.

    Attributes:
        cosines: (u, v, s), [J, 3].
        heights: as a linear power, [J]; -inf where the slot holds no peak.
        alive: True for slots with a peak that has no higher peak too close to it, [J].
    """

    cosines: Float[Array, "*batch J 3"]
    heights: Float[Array, "*batch J"]
    alive: Bool[Array, "*batch J"]


def find_peaks(
    cost: Cost,
    height: Callable[[Float[Array, " J"]], Float[Array, " J"]],
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    grid: Grid,
    geometry: Geometry | None = None,
) -> Peaks:
    """Return the minima of ``cost`` of one scene: `estimator.candidates` local minima of the grid, refined by Newton's
    method. A minimum is suppressed when a better one is too close.

    Args:
        cost: of unit-norm steering vectors, least at a source, smooth.
        height: from the cost of a peak to its height as a linear power, positive.
        physics: array and field of view.
        estimator: separation, refinement.
        grid: the search grid, on the scene's own surface.
        geometry: of that surface.

    Returns:
        Nothing where the cost is nowhere finite, has no height, or is the same everywhere.
    """
    costs = cost(grid.steering)
    spread, largest = jnp.max(costs) - jnp.min(costs), jnp.max(jnp.abs(costs))
    structured = spread > 8 * jnp.finfo(costs.dtype).eps * largest  # on a flat one every point is a local minimum
    peaks, found = local_maxima(-costs, grid, estimator.candidates)

    def at(cosines: Float[Array, "3"]) -> Float[Array, ""]:
        return cost(steering_at(physics.array, cosines, geometry))

    refined, costs = refine(at, peaks, physics, estimator.grid, iterations=estimator.refine_iterations)
    usable = structured & (found > -jnp.inf) & jnp.isfinite(costs)
    heights = jnp.where(usable, height(jnp.where(usable, costs, 1.0)), -jnp.inf)
    heights = jnp.where(heights > 0, heights, -jnp.inf)
    order = jnp.argsort(-heights)
    refined, heights = refined[order], heights[order]
    alive = separate(
        refined,
        heights,
        min_separation=estimator.min_separation,
        min_range_separation=estimator.min_range_separation,
    )
    return Peaks(refined, heights, alive)


def search_cost(
    cost: Cost,
    height: Callable[[Float[Array, " J"]], Float[Array, " J"]],
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    num_sources: Int[Array, ""] | int | None,
    grid: Grid,
    geometry: Geometry | None = None,
) -> Estimates:
    """Return the sources at the minima of ``cost`` of one scene.

    These are the ``num_sources`` highest peaks of `find_peaks`, whose arguments it takes, or, blind to K (None), those
    within ``estimator.threshold_db`` of the highest.

    Returns:
        K_max slots, highest first; ``amplitude`` the root of the height, ``std`` inf, ``score`` the height in dB
        below the scene's highest.
    """
    peaks = find_peaks(cost, height, physics, estimator, grid, geometry)
    index, active = choose(
        peaks.heights,
        peaks.alive,
        num_slots=physics.scene.max_sources,
        threshold_db=estimator.threshold_db,
        num_sources=num_sources,
    )
    return estimates_from_peaks(peaks.cosines[index], peaks.heights[index], active)


def estimates_from_peaks(
    cosines: Float[Array, "K 3"],
    powers: Float[Array, " K"],
    active: Bool[Array, " K"],
    existence: Float[Array, " K"] | None = None,
) -> Estimates:
    """Peaks as `Estimates`: powers to amplitudes and to a score in dB, inactive slots zeroed; with probabilities of
    existence where there are any."""
    powers = jnp.where(active, powers, 0.0)
    tiny = jnp.finfo(powers.dtype).tiny
    highest = jnp.maximum(jnp.max(powers), tiny)
    position = to_position(jnp.where(active[:, None], cosines, 1.0 / 3.0))
    score = 10.0 * jnp.log10(jnp.maximum(powers / highest, tiny))
    return Estimates(
        position=jnp.where(active[:, None], position, 0.0),
        amplitude=jnp.sqrt(powers).astype(jnp.result_type(powers, jnp.complex64)),
        active=active,
        std=jnp.full_like(position, jnp.inf),
        score=jnp.where(active, score, 0.0),
        existence=jnp.full_like(score, jnp.nan) if existence is None else jnp.where(active, existence, 0.0),
    )
