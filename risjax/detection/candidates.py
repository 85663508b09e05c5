"""Candidates for the posterior: a learned spectrum's peaks, fitted jointly, then dropped one after another.

The spectrum proposes, the residual of the fit may replace the weakest proposal by something better, and backward
elimination orders what is left: the weakest candidate goes, the others are fitted again, down to one. Every fit
on the way is kept: `risjax.detection.candidate_features` describes them, and the decision takes one of them.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from risjax.config import PhysicsConfig, PosteriorConfig
from risjax.estimators.forward_selection import empty_fit, joining_gain
from risjax.estimators.joint_ml import Fit, maximise
from risjax.estimators.likelihood import SufficientStatistics, steering_and_derivatives
from risjax.physics.array import steering_at
from risjax.spectral.grid import Grid
from risjax.spectral.peaks import local_maxima
from risjax.spectral.spectrum import mvdr_cost, whitener
from risjax.types import LowRankCovariance


class Elimination(NamedTuple):
    """The fits of backward elimination: index k of the leading axis K holds k + 1 candidates, or none where there
    were fewer to begin with.

    Attributes:
        fits: the joint fits.
        weakest: slot of the candidate that was dropped next, [K].
        level: learned spectrum at every candidate, as log10 of delta a^H R^-1 a, [K, K]; zero in inactive slots.
        residuals: energy left by 0 ... K candidates, [K + 1].
    """

    fits: Fit
    weakest: Int[Array, "*batch K"]
    level: Float[Array, "*batch K K"]
    residuals: Float[Array, "*batch K1"]


def _highest(ranking: Float[Array, " G"], grid: Grid, slots: int) -> tuple[Array, Array]:
    """(u, v, s) of the highest peaks over the grid [K, 3], and which slots hold one [K]."""
    peaks, heights = local_maxima(ranking, grid, slots)
    return peaks, heights > -jnp.inf


def _exchange_weakest(
    data: SufficientStatistics, physics: PhysicsConfig, grid: Grid, fit: Fit, shortlist: int
) -> tuple[Array, Array]:
    """The candidates with the weakest, or an empty slot, given to the best point of the residual, where that gains.

    The exact gain of a point has a^H G a in its denominator, which costs more over the whole grid than the joint fit.
    So the matched filter of the residual, which takes it to be the same everywhere, proposes its highest maxima, and
    the exact gain chooses among them.
    """
    vectors, _ = steering_and_derivatives(physics.array, fit.cosines, data.geometry)
    vectors = jnp.where(fit.active[None, :], vectors, 0)
    field = jnp.matmul(vectors, fit.amplitude[:, None], precision="highest")
    left = data.filtered[:, None] - jnp.matmul(data.gram, field, precision="highest")
    image = jnp.matmul(grid.steering.conj(), left, precision="highest")[:, 0]
    places, heights = local_maxima(image.real**2 + image.imag**2, grid, shortlist)
    there = steering_at(physics.array, places, data.geometry)
    gain = jnp.where(heights > -jnp.inf, joining_gain(data, physics, fit, there), -jnp.inf)
    best = jnp.argmax(gain)
    weakest = jnp.argmin(jnp.where(fit.active, fit.contribution, -1.0))
    better = gain[best] > jnp.where(fit.active[weakest], fit.contribution[weakest], 0.0)
    cosines = fit.cosines.at[weakest].set(jnp.where(better, places[best], fit.cosines[weakest]))
    return cosines, fit.active.at[weakest].set(fit.active[weakest] | better)


def _backward(
    data: SufficientStatistics, physics: PhysicsConfig, fit: Fit, iterations: int
) -> tuple[Fit, Int[Array, " K"]]:
    """The fits with 1 ... K candidates, and the slot of the weakest of each.

    A fit of k candidates is computed in k slots, so that what has been dropped costs nothing more: an evaluation of the
    likelihood takes time in proportion to its slots. Empty slots are dropped before any candidate is.
    """
    slots = fit.active.shape[0]
    none = empty_fit(data, physics, fit.cosines.dtype)
    held = jnp.arange(slots)  # where each slot of the shrinking fit stands in the whole one
    kept = []
    for count in range(slots, 0, -1):
        placed = jax.tree.map(functools.partial(jnp.where, jnp.all(fit.active)), _in_slots(fit, held, none), none)
        dropped = jnp.argmin(jnp.where(fit.active, fit.contribution, -1.0))
        kept.append((placed, held[dropped]))
        if count > 1:
            others = jnp.arange(count - 1)
            others = others + (others >= dropped)
            held = held[others]
            fit = maximise(data, physics, fit.cosines[others], fit.active[others], iterations=iterations)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves[::-1]), *kept)


def _in_slots(fit: Fit, held: Int[Array, " k"], none: Fit) -> Fit:
    """A fit of k slots as one of K, its slots at ``held``, the others as in ``none``."""
    rows = (3 * held[:, None] + jnp.arange(3)[None, :]).reshape(-1)
    per_slot = {
        name: getattr(none, name).at[held].set(getattr(fit, name))
        for name in ("cosines", "active", "amplitude", "contribution", "gradient")
    }
    curvature = none.curvature.at[rows[:, None], rows[None, :]].set(fit.curvature)
    return Fit(**per_slot, residual=fit.residual, curvature=curvature)


def eliminate(
    data: SufficientStatistics,
    effective: LowRankCovariance,
    physics: PhysicsConfig,
    posterior: PosteriorConfig,
    grid: Grid,
    ranking: Float[Array, " G"] | None = None,
) -> Elimination:
    """Candidates of one scene and their backward elimination.

    Args:
        data: the scene's statistics.
        effective: R_eff.
        physics: array, field of view, slots.
        posterior: rounds and iterations.
        grid: of ``posterior.grid``, on the scene's own surface.
        ranking: a map over the grid whose highest peaks are the first candidates; None takes the learned spectrum.
    """
    slots = physics.scene.max_sources
    whitening = whitener(effective)
    ranking = -mvdr_cost(whitening, grid.steering) if ranking is None else ranking
    cosines, active = _highest(ranking, grid, slots)
    fit = maximise(data, physics, cosines, active, iterations=posterior.iterations)

    def exchange(fit: Fit, _: None) -> tuple[Fit, None]:
        cosines, active = _exchange_weakest(data, physics, grid, fit, posterior.shortlist)
        return maximise(data, physics, cosines, active, iterations=posterior.iterations), None

    fit, _ = jax.lax.scan(exchange, fit, None, length=posterior.residual_rounds)

    fits, weakest = _backward(data, physics, fit, posterior.elimination_iterations)
    vectors = jax.vmap(lambda x: steering_and_derivatives(physics.array, x, data.geometry)[0].T)(fits.cosines)
    level = jnp.where(fits.active, jnp.log10(mvdr_cost(whitening, vectors)), 0.0)
    return Elimination(fits, weakest, level, jnp.concatenate([data.energy[None], fits.residual]))
