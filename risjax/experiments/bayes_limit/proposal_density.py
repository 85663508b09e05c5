"""Proposal density of jumps and births: half uniform, half proportional to the matched filter.

The density does not depend on the state, so that the moves are reversible.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from risjax.config import PhysicsConfig
from risjax.estimators.likelihood import SufficientStatistics
from risjax.experiments.bayes_limit.prior import Bounds, draw_coordinates, log_density, to_polar
from risjax.physics.array import steering
from risjax.types import Geometry

CELLS = (30, 16, 6)
"""Points of the matched filter's grid along azimuth, elevation and inverse range."""
_BRIGHT = 0.5


class ProposalDensity(NamedTuple):
    """A density over q: cells of equal size, each with its probability.

    Attributes:
        log_probability: of the cells, azimuth slowest, [C].
        passed: their cumulative probability, [C].
    """

    log_probability: Float[Array, " C"]
    passed: Float[Array, " C"]


def _cell_sides(limits: Bounds) -> Float[Array, "3"]:
    return (jnp.asarray(limits.high) - jnp.asarray(limits.low)) / jnp.asarray(CELLS)


def bright_places(
    data: SufficientStatistics, limits: Bounds, physics: PhysicsConfig, geometry: Geometry | None
) -> ProposalDensity:
    """Cells by the energy that a source in their middle explains alone, |a^H b|^2 / a^H G a."""
    index = jnp.stack(jnp.unravel_index(jnp.arange(CELLS[0] * CELLS[1] * CELLS[2]), CELLS), axis=-1)
    middles = jnp.asarray(limits.low)[None, :] + (index + 0.5) * _cell_sides(limits)[None, :]
    vectors = jax.vmap(lambda q: steering(physics.array, to_polar(q), geometry))(middles)
    images = jnp.matmul(vectors, data.gram.T, precision="highest")
    energy = jnp.sum((vectors.conj() * images).real, axis=1)
    matched = jnp.abs(jnp.matmul(vectors.conj(), data.filtered, precision="highest")) ** 2
    log_probability = jax.nn.log_softmax(jnp.log(matched / energy))
    return ProposalDensity(log_probability, jnp.cumsum(jnp.exp(log_probability)))


def draw_place(key: Key[Array, ""], places: ProposalDensity, limits: Bounds) -> Float[Array, "3"]:
    """q from the mixture."""
    which_key, prior_key, cell_key, inside_key = jax.random.split(key, 4)
    last = places.passed[-1]
    cell = jnp.searchsorted(places.passed, jax.random.uniform(cell_key, maxval=last))  # one number, not one a cell
    index = jnp.stack(jnp.unravel_index(cell, CELLS))
    unit = jax.random.uniform(inside_key, (3,))
    bright = jnp.asarray(limits.low) + (index + unit) * _cell_sides(limits)
    return jnp.where(jax.random.uniform(which_key) < _BRIGHT, bright, draw_coordinates(prior_key, limits))


def place_log_density(q: Float[Array, "3"], places: ProposalDensity, limits: Bounds) -> Float[Array, ""]:
    """Return the log-density of the mixture at a q inside the prior's support."""
    sides = _cell_sides(limits)
    index = jnp.clip(((q - jnp.asarray(limits.low)) / sides).astype(int), 0, jnp.asarray(CELLS) - 1)
    cell = (index[0] * CELLS[1] + index[1]) * CELLS[2] + index[2]
    bright = places.log_probability[cell] - jnp.sum(jnp.log(sides))
    log_shares = jnp.log(jnp.asarray([_BRIGHT, 1 - _BRIGHT]))
    return jnp.logaddexp(log_shares[0] + bright, log_shares[1] + log_density(q, limits))
