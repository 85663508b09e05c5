"""Refinement of peaks between grid points: a guarded Newton iteration in (u, v, s), many peaks at once."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from risjax.config import GridConfig, PhysicsConfig
from risjax.spectral.grid import field_of_view, grid_axes, into_field

Objective = Callable[[Float[Array, "3"]], Float[Array, ""]]


def newton_direction(hessian: Float[Array, "3 3"], gradient: Float[Array, "3"]) -> Float[Array, "3"]:
    """Return hessian^-1 gradient where the Hessian is positive definite, else a scaled gradient.

    In closed form: at this size a batched LAPACK call costs more than the arithmetic. Coordinates are expected
    in units of a grid cell, so that the three diagonal entries are comparable.
    """
    (a, b, c), (d, e), f = hessian[0], hessian[1, 1:], hessian[2, 2]
    aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
    bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
    determinant = a * aa + b * ab + c * ac
    positive = (a > 0) & (cc > 0) & (determinant > 1e-6 * jnp.abs(a * d * f))
    adjugate = jnp.stack([jnp.stack([aa, ab, ac]), jnp.stack([ab, bb, bc]), jnp.stack([ac, bc, cc])])
    newton = jnp.sum(adjugate * gradient[None, :], axis=1) / jnp.where(positive, determinant, 1.0)
    scale = jnp.max(jnp.abs(hessian)) + jnp.finfo(hessian.dtype).tiny
    return jnp.where(positive, newton, gradient / scale)


def refine(
    objective: Objective,
    start: Float[Array, "J 3"],
    physics: PhysicsConfig,
    grid: GridConfig,
    *,
    iterations: int,
) -> tuple[Float[Array, "J 3"], Float[Array, " J"]]:
    """Return local minima of ``objective`` near ``start``, inside the field of view.

    Newton steps no longer than a trust radius (a grid cell at first), taken only where they do not raise the
    objective; a refused step divides the radius by four. Where the Hessian is not positive definite, a gradient
    step. Steps end in the field of view, so that a source outside it is found on its edge.

    Args:
        objective: a smooth function of (u, v, s); a non-finite value refuses the step.
        start: (u, v, s) of J peaks, off by a grid cell or so.
        physics: field of view.
        grid: its cells are the units of the trust radius.
        iterations: Newton steps.

    Returns:
        (u, v, s) [J, 3] and the objective there [J].
    """
    cell = jnp.asarray([axis[1] - axis[0] for axis in grid_axes(physics, grid)], start.dtype)
    field = field_of_view(physics)

    def evaluate(x: Array) -> tuple[Array, Array, Array]:
        value, gradient = jax.value_and_grad(objective)(x)
        hessian = jax.jacfwd(jax.grad(objective))(x)
        return value, gradient * cell, hessian * cell[:, None] * cell[None, :]

    def descend(x: Array) -> tuple[Array, Array]:
        def body(_: Array | int, state: tuple) -> tuple:
            x, (value, gradient, hessian), radius = state
            step = jnp.clip(newton_direction(hessian, gradient), -radius, radius)
            trial = into_field(x - step * cell, field)
            there = evaluate(trial)
            better = there[0] <= value
            kept = jax.tree.map(
                lambda new, old: jnp.where(better, new, old), (trial, there), (x, (value, gradient, hessian))
            )
            return *kept, jnp.where(better, radius, radius / 4)

        # The first pass takes no step and replaces these placeholders: one trace of the derivatives, not two.
        nowhere = (jnp.full((), jnp.inf, x.dtype), jnp.zeros(3, x.dtype), jnp.eye(3, dtype=x.dtype))
        state = (into_field(x, field), nowhere, jnp.ones((), x.dtype))
        x, (value, _, _), _ = jax.lax.fori_loop(0, iterations + 1, body, state)
        return x, value

    return jax.vmap(descend)(start)
