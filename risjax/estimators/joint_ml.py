"""Joint maximum-likelihood refinement of positions that any method found.

Levenberg–Marquardt moves all sources of a scene together to the nearest optimum of the likelihood inside the field of
view, with the amplitudes projected out.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from risjax.config import PhysicsConfig
from risjax.estimators.fit import Fit, estimates_from_fit
from risjax.estimators.likelihood import (
    Linearisation,
    Projections,
    SufficientStatistics,
    linearise_projected,
    no_projections,
    project,
    statistics,
)
from risjax.physics.scaling import in_normalised_units
from risjax.spectral.grid import Field, field_of_view, into_field, to_cosines
from risjax.types import Estimates, Observation

_LEAST_DAMPING, _MOST_DAMPING = 1e-6, 1e6
_ROUNDING = 4.0
"""Error of a residual, in units of the resolution of the snapshots' energy."""


def damped_solve(matrix: Float[Array, "P P"], vector: Float[Array, " P"], damping: Array) -> Float[Array, " P"]:
    """(T + damping diag T)^-1 vector, solved for T scaled to unit diagonal; zero for rows with a zero diagonal."""
    diagonal = jnp.diagonal(matrix)
    used = diagonal > 0
    scale = jnp.where(used, jax.lax.rsqrt(jnp.where(used, diagonal, 1.0)), 0.0)
    unit = matrix * scale[:, None] * scale[None, :]
    unit = unit + jnp.diag(jnp.where(used, damping + 1e-6, 1.0))
    return scale * jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(unit), True), scale * vector)


class _Search(NamedTuple):
    """State of `maximise`: the best positions so far, and the next ones to evaluate.

    Attributes:
        cosines: [K, 3].
        projections: at ``cosines``.
        here: the likelihood at ``cosines``.
        decrement: g^T T^-1 g with the gradient g at ``cosines``, the decrease that a full step predicts, [].
        damping: of the next step, [].
        trial: the next positions, [K, 3].
    """

    cosines: Float[Array, "K 3"]
    projections: Projections
    here: Linearisation
    decrement: Float[Array, ""]
    damping: Float[Array, ""]
    trial: Float[Array, "K 3"]


def maximise(
    data: SufficientStatistics,
    physics: PhysicsConfig,
    cosines: Float[Array, "K 3"],
    active: Bool[Array, " K"],
    *,
    iterations: int | Int[Array, ""],
) -> Fit:
    """Levenberg–Marquardt from ``cosines``. A step that does not lower the residual is rejected, the damping increases.

    Near the optimum the residual changes by less than its rounding: at 20 dB from a tenth of a standard deviation on in
    float32. There a step is accepted if it lowers the gradient, measured by the decrement g^T T^-1 g.

    A range at a bound of the field of view is fixed for the step if its gradient points outside. This happens often for
    weak distant sources, whose directions continue to move.
    """
    return maximise_projected(data, physics, cosines, active, None, iterations=iterations)[0]


def maximise_projected(
    data: SufficientStatistics,
    physics: PhysicsConfig,
    cosines: Float[Array, "K 3"],
    active: Bool[Array, " K"],
    known: tuple[Projections, Bool[Array, ""]] | None,
    *,
    iterations: int | Int[Array, ""],
) -> tuple[Fit, Projections]:
    """`maximise`, which returns the projections at its end and can start from those of a previous search.

    Args:
        data: statistics of one scene.
        physics: array and field of view.
        cosines: positions at which the search starts.
        active: slots that hold a source.
        known: projections, and whether they are those at ``cosines``; the first evaluation is then saved. The second
            must be the same for all scenes of a batch, so that under ``vmap`` ``lax.cond`` computes one branch only.
        iterations: number of steps.

    The result is differentiable by ``data`` (`_tangents_at_optimum`); the start has derivative zero.
    """
    return _search(data, physics, cosines, active, known, iterations)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _search(
    data: SufficientStatistics,
    physics: PhysicsConfig,
    cosines: Float[Array, "K 3"],
    active: Bool[Array, " K"],
    known: tuple[Projections, Bool[Array, ""]] | None,
    iterations: int | Int[Array, ""],
) -> tuple[Fit, Projections]:
    """`maximise_projected`, without its derivative."""
    field, array = field_of_view(physics), physics.array
    rounding = _ROUNDING * jnp.finfo(data.energy.dtype).eps * data.energy
    start = into_field(jnp.where(active[:, None], cosines, 0.5 * (field.s[0] + field.s[1])), field)
    before = _not_evaluated(start, data)
    if known is not None:
        before = before._replace(projections=known[0])

    def project_trial(index: Array | int, state: _Search) -> Projections:
        if known is None:
            return project(data, array, state.trial)
        is_new = (index > 0) | ~known[1]
        return jax.lax.cond(is_new, lambda: project(data, array, state.trial), lambda: state.projections)

    def body(index: Array | int, state: _Search) -> _Search:
        projections = project_trial(index, state)
        there = linearise_projected(projections, data.energy, active)
        decrement = _decrement(state.trial, there, active, field)
        gain = state.here.residual - there.residual
        better = (gain > rounding) | ((gain > -rounding) & (decrement < state.decrement))
        new, old = (state.trial, projections, there, decrement), state[:4]
        x, projections, here, decrement = jax.tree.map(lambda leaf, other: jnp.where(better, leaf, other), new, old)
        damping = jnp.where(better, state.damping / 5, state.damping * 4)
        damping = jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING)
        return _Search(x, projections, here, decrement, damping, _step_from(x, here, active, damping, field))

    # The first pass takes no step: it evaluates the start. One trace of the likelihood, not two.
    end = jax.lax.fori_loop(0, iterations + 1, body, before)
    here = end.here
    fit = Fit(end.cosines, active, here.amplitude, here.contribution, here.residual, here.gradient, here.curvature)
    return fit, end.projections


@_search.defjvp
def _tangents_at_optimum(
    physics: PhysicsConfig, primals: tuple, tangents: tuple
) -> tuple[tuple[Fit, Projections], tuple[Fit, Projections]]:
    """Derivatives of an optimum by the implicit function theorem, in place of those of the search.

    At the optimum the gradient g of the residual is zero in all directions that no bound of the field of view holds, so
    a change of the data moves it by dx = -(dg/dx)^-1 dg. The exact Hessian dg/dx is used; the Gauss-Newton matrix lacks
    a term of the size of the noise.
    """
    data, _, active, *_ = primals
    fit, projections = _search(data, physics, *primals[1:])
    x = fit.cosines

    def evaluate(data: SufficientStatistics, x: Float[Array, "K 3"]) -> tuple[Linearisation, Projections]:
        projections = project(data, physics.array, x)
        return linearise_projected(projections, data.energy, active), projections

    def gradient(data: SufficientStatistics, x: Float[Array, "K 3"]) -> Float[Array, " P"]:
        return evaluate(data, x)[0].gradient.reshape(-1)

    hessian = jax.jacfwd(gradient, argnums=1)(data, x).reshape(x.size, x.size)
    _, change = jax.jvp(lambda data: gradient(data, x), (data,), (tangents[0],))
    free = _free(x, fit.gradient, active, field_of_view(physics)).reshape(-1)
    moved = -_solve_free(hessian, change, free).reshape(x.shape)
    _, (here, of_projections) = jax.jvp(evaluate, (data, x), (tangents[0], moved))
    no_tangent: Any = np.zeros(active.shape, jax.dtypes.float0)
    tangent = Fit(moved, no_tangent, here.amplitude, here.contribution, here.residual, here.gradient, here.curvature)
    return (fit, projections), (tangent, of_projections)


def _free(
    x: Float[Array, "K 3"], gradient: Float[Array, "K 3"], active: Bool[Array, " K"], field: Field
) -> Bool[Array, "K 3"]:
    """Coordinates of active sources that are not held by a bound of the field of view.

    The range alone is held in a search; a direction at its bound is held by `risjax.spectral.grid.into_field`.
    """
    cosine = jnp.sqrt(jnp.maximum(1.0 - x[:, 1] ** 2, 0.0))
    low = jnp.stack([field.sin_azimuth[0] * cosine, *(jnp.full_like(cosine, end[0]) for end in field[1:])], axis=1)
    high = jnp.stack([field.sin_azimuth[1] * cosine, *(jnp.full_like(cosine, end[1]) for end in field[1:])], axis=1)
    outward = jnp.where(gradient > 0, x <= low, x >= high)
    return active[:, None] & ~outward


def _solve_free(matrix: Float[Array, "P P"], vector: Float[Array, " P"], free: Bool[Array, " P"]) -> Float[Array, " P"]:
    """matrix^-1 vector over the free coordinates, zero in the others; solved at unit diagonal."""
    both = free[:, None] & free[None, :]
    diagonal = jnp.abs(jnp.diagonal(matrix))
    used = free & (diagonal > 0)
    scale = jnp.where(used, jax.lax.rsqrt(jnp.where(used, diagonal, 1.0)), 0.0)
    unit = jnp.where(both, matrix * scale[:, None] * scale[None, :], 0.0) + jnp.diag(jnp.where(used, 0.0, 1.0))
    return scale * jnp.linalg.solve(unit, scale * vector)


def _not_evaluated(start: Float[Array, "K 3"], data: SufficientStatistics) -> _Search:
    """A search before its first evaluation, whose placeholders any finite residual replaces."""
    slots, real = start.shape[0], start.dtype
    nowhere = Linearisation(
        jnp.full((), jnp.inf, real),
        jnp.zeros(slots, data.filtered.dtype),
        jnp.zeros(slots, real),
        jnp.zeros((slots, 3), real),
        jnp.zeros((3 * slots, 3 * slots), real),
    )
    infinite = jnp.full((), jnp.inf, real)
    return _Search(start, no_projections(data, slots), nowhere, infinite, jnp.asarray(1e-2, real), start)


def _step_from(
    x: Float[Array, "K 3"], here: Linearisation, active: Bool[Array, " K"], damping: Float[Array, ""], field: Field
) -> Float[Array, "K 3"]:
    """Positions after one damped step, each component by at most a limit, inside the field of view."""
    step, _ = _free_step(x, here, active, damping, field)
    limit = jnp.asarray([[0.1, 0.1, 0.5]], x.dtype)
    return into_field(x - jnp.clip(step.reshape(x.shape), -limit, limit), field)


def _free_step(
    x: Float[Array, "K 3"], here: Linearisation, active: Bool[Array, " K"], damping: Array, field: Field
) -> tuple[Float[Array, " P"], Float[Array, " P"]]:
    """The damped step of all coordinates but ranges held at a bound, and the gradient along them."""
    outward = jnp.where(here.gradient[:, 2] > 0, x[:, 2] <= field.s[0], x[:, 2] >= field.s[1])
    free = jnp.stack([active, active, active & ~outward], axis=1).reshape(-1)
    curvature = jnp.where(free[:, None] & free[None, :], here.curvature, 0.0)
    gradient = jnp.where(free, here.gradient.reshape(-1), 0.0)
    return damped_solve(curvature, gradient, damping), gradient


def _decrement(
    x: Float[Array, "K 3"], here: Linearisation, active: Bool[Array, " K"], field: Field
) -> Float[Array, ""]:
    """g^T T^-1 g over the free coordinates."""
    step, gradient = _free_step(x, here, active, jnp.zeros((), x.dtype), field)
    return jnp.sum(step * gradient)


@in_normalised_units
def polish(
    observation: Observation, estimates: Estimates, physics: PhysicsConfig, *, iterations: int = 10
) -> Estimates:
    """Move sources that any method found to the nearest optimum of the likelihood, one scene.

    Args:
        observation: snapshots, channel and codes.
        estimates: only ``position`` and ``active`` are used.
        physics: array and field of view.
        iterations: number of Levenberg–Marquardt steps.

    Returns:
        The same sources, strongest first, with amplitudes and standard deviations; ``score`` as in
        `risjax.estimators.fit.estimates_from_fit`. A scene with NaN in its snapshots has no active source.
    """
    data = statistics(observation, physics)
    position = jnp.where(estimates.active[:, None], estimates.position, 1.0).astype(data.energy.dtype)
    fit = maximise(data, physics, to_cosines(position), estimates.active, iterations=iterations)
    return estimates_from_fit(fit, data)
