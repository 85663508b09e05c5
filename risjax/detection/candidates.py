"""Candidate sources of one scene: peaks of a learned spectrum, fitted jointly, then eliminated one by one.

The highest peaks of the spectrum are the first candidates. Exchange steps replace the weakest candidate by the best
point of the fit's residual where that fits better. Backward elimination then drops the weakest candidate and fits the
others again, down to one. All fits of the elimination are kept: `risjax.detection.candidate_features` describes them,
and `risjax.detection.posterior_decision` selects one of them.

All joint fits are steps of one ``lax.scan``, in K masked slots: XLA compiles the likelihood once. With one program for
each number of slots the pipeline had twice as many instructions.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from risjax.config import PhysicsConfig, PosteriorConfig
from risjax.estimators.fit import Fit
from risjax.estimators.forward_selection import empty_fit, hold, joining_gain, search_energy
from risjax.estimators.joint_ml import maximise_projected
from risjax.estimators.likelihood import Projections, SufficientStatistics, no_projections, steering_and_derivatives
from risjax.linalg import LowRankCovariance
from risjax.physics.array import steering_at
from risjax.spectral.grid import Grid
from risjax.spectral.peaks import local_maxima
from risjax.spectral.spectrum import mvdr_cost, whitener


class Elimination(NamedTuple):
    """The fits of backward elimination. Index k of the leading axis K is the fit of k + 1 candidates, without a source
    where fewer candidates were found.

    Attributes:
        fits: the joint fits.
        weakest: slot of the candidate that the next step drops, [K].
        level: learned spectrum at every candidate, as log10 of delta a^H R^-1 a, [K, K]; zero in inactive slots.
        residuals: energy of the residual with 0 ... K candidates, [K + 1].
    """

    fits: Fit
    weakest: Int[Array, "*batch K"]
    level: Float[Array, "*batch K K"]
    residuals: Float[Array, "*batch K1"]


class _Slots(NamedTuple):
    """Candidates in K slots, at which a joint fit starts.

    Attributes:
        cosines: (u, v, s), [K, 3].
        active: slots that hold a candidate, [K].
        remaining: slots that the elimination has not dropped, [K].
    """

    cosines: Float[Array, "K 3"]
    active: Bool[Array, " K"]
    remaining: Bool[Array, " K"]


class _State(NamedTuple):
    """The latest joint fit, its projections, and the slots that the elimination has not dropped."""

    fit: Fit
    projections: Projections
    remaining: Bool[Array, " K"]


class _Step(enum.IntEnum):
    """How a step of the scan chooses the candidates of its joint fit."""

    PEAKS = 0
    EXCHANGE = 1
    DROP = 2


def _highest_peaks(spectrum: Float[Array, " G"], grid: Grid, slots: int) -> _Slots:
    """The highest peaks over the grid."""
    peaks, heights = local_maxima(spectrum, grid, slots)
    return _Slots(peaks, heights > -jnp.inf, jnp.ones(slots, bool))


def _exchange_weakest(
    data: SufficientStatistics, physics: PhysicsConfig, grid: Grid, fit: Fit, shortlist: int
) -> _Slots:
    """The candidates of ``fit``; the best point of its residual replaces the weakest where it gains more.

    The exact gain of a point has a^H G a in its denominator, which costs more over the whole grid than the joint fit.
    So the matched filter of the residual, which takes that denominator as constant, proposes its highest maxima, and
    the exact gain chooses among them.
    """
    held = hold(data, physics, fit)
    image = jnp.matmul(grid.steering.conj(), held.residual[:, None], precision="highest")[:, 0]
    points, heights = local_maxima(image.real**2 + image.imag**2, grid, shortlist)
    point_vectors = steering_at(physics.array, points, data.geometry)
    gain = joining_gain(held, point_vectors, search_energy(data, point_vectors))
    gain = jnp.where(heights > -jnp.inf, gain, -jnp.inf)
    best = jnp.argmax(gain)
    weakest = jnp.argmin(jnp.where(fit.active, fit.contribution, -1.0))
    better = gain[best] > jnp.where(fit.active[weakest], fit.contribution[weakest], 0.0)
    cosines = fit.cosines.at[weakest].set(jnp.where(better, points[best], fit.cosines[weakest]))
    active = fit.active.at[weakest].set(fit.active[weakest] | better)
    return _Slots(cosines, active, jnp.ones_like(active))


def _weakest(state: _State) -> Int[Array, ""]:
    """Slot to drop next: an empty one while there is one, then the candidate with the smallest contribution."""
    contribution = jnp.where(state.fit.active, state.fit.contribution, -1.0)
    return jnp.argmin(jnp.where(state.remaining, contribution, jnp.inf))


def _drop_weakest(state: _State) -> _Slots:
    """The candidates of a fit without the weakest."""
    remaining = state.remaining.at[_weakest(state)].set(False)
    return _Slots(state.fit.cosines, state.fit.active & remaining, remaining)


def _fit_steps(
    data: SufficientStatistics,
    physics: PhysicsConfig,
    choices: tuple[Callable[[_State], _Slots], ...],
    steps: tuple[Int[Array, " S"], Int[Array, " S"]],
) -> tuple[Fit, Int[Array, " S"]]:
    """The joint fits of all steps, and the slot that is the weakest of each.

    Args:
        data: of one scene.
        physics: array, field of view, slots.
        choices: for each `_Step`, from the state to the candidates of the next fit.
        steps: for each step its `_Step` and the iterations of its fit. They are the same for all scenes of a batch, so
            that under ``vmap`` ``lax.switch`` computes one branch only.

    Returns:
        S fits; the fit without a source where a remaining slot holds no candidate.
    """
    slots = physics.scene.max_sources
    none = empty_fit(data, physics, data.energy.dtype)

    def body(state: _State, step: tuple[Array, Array]) -> tuple[_State, tuple[Fit, Array]]:
        kind, iterations = step
        chosen = jax.lax.switch(kind, choices, state)
        known = state.projections, kind == _Step.DROP  # the other candidates are where they were
        fit, projections = maximise_projected(
            data, physics, chosen.cosines, chosen.active, known, iterations=iterations
        )
        is_full = jnp.all(chosen.active | ~chosen.remaining)
        state = _State(fit, projections, chosen.remaining)
        return state, (jax.tree.map(lambda leaf, empty: jnp.where(is_full, leaf, empty), fit, none), _weakest(state))

    start = _State(none, no_projections(data, slots), jnp.ones(slots, bool))
    _, kept = jax.lax.scan(body, start, steps)
    return kept


def eliminate(
    data: SufficientStatistics,
    effective: LowRankCovariance,
    physics: PhysicsConfig,
    posterior: PosteriorConfig,
    grid: Grid,
) -> Elimination:
    """Candidates of one scene and their backward elimination.

    Args:
        data: the scene's statistics.
        effective: R_eff.
        physics: array, field of view, slots.
        posterior: rounds and iterations.
        grid: of ``posterior.grid``, on the scene's own surface.
    """
    slots, rounds = physics.scene.max_sources, posterior.residual_rounds
    whitening = whitener(effective)
    peaks = _highest_peaks(-mvdr_cost(whitening, grid.steering), grid, slots)

    choices = {
        _Step.PEAKS: lambda _: peaks,
        _Step.EXCHANGE: lambda state: _exchange_weakest(data, physics, grid, state.fit, posterior.shortlist),
        _Step.DROP: _drop_weakest,
    }
    kinds = jnp.asarray([_Step.PEAKS] + [_Step.EXCHANGE] * rounds + [_Step.DROP] * (slots - 1))
    iterations = jnp.where(kinds == _Step.DROP, posterior.elimination_iterations, posterior.iterations)
    kept = _fit_steps(data, physics, tuple(choices[step] for step in _Step), (kinds, iterations))
    fits, weakest = jax.tree.map(lambda leaf: leaf[rounds:][::-1], kept)

    vectors = jax.vmap(lambda x: steering_and_derivatives(physics.array, x, data.geometry)[0].T)(fits.cosines)
    level = jnp.where(fits.active, jnp.log10(mvdr_cost(whitening, vectors)), 0.0)
    return Elimination(fits, weakest, level, jnp.concatenate([data.energy[None], fits.residual]))
