"""Phases of few bits: rounding, then exchanges of single phases that raise the criterion.

With g_ln the gradient of the criterion by the reflection coefficient c_ln, moving it to c' changes the criterion by
Re g_ln (c' - c_ln) to first order. Each round moves the entries with the largest predicted gain, half
as many as the round before where that did not raise the criterion.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

ROUNDS = 16
"""Rounds of exchanges after rounding."""
_FIRST_SHARE = 16
"""One entry in so many is moved in the first round."""


class _Exchange(NamedTuple):
    steps: Int[Array, "L N"]
    value: Float[Array, ""]
    gradient: Complex[Array, "L N"]
    moved: Int[Array, ""]


def quantised(phase_rad: Float[Array, "L N"], bits: int) -> Int[Array, "L N"]:
    """Return the nearest of 2^bits phase steps, 0 to 2^bits - 1."""
    return jnp.round(phase_rad * (2**bits / (2 * jnp.pi))).astype(jnp.int32) % 2**bits


def exchange_phases(
    steps: Int[Array, "L N"],
    reflections: Complex[Array, " Q"],
    value_of: Callable[[Complex[Array, "L N"]], Float[Array, ""]],
) -> Int[Array, "L N"]:
    """Move single phases to other steps while that raises the criterion.

    Args:
        steps: phase steps to start from.
        reflections: reflection coefficient of each of the Q phase steps.
        value_of: criterion of codes of these reflection coefficients.
    """

    def advance(state: _Exchange, _: None) -> tuple[_Exchange, None]:
        moves = reflections[None, None, :] - reflections[state.steps][..., None]
        gain = (state.gradient[..., None] * moves).real  # JAX's gradient g of a real function: df = Re(g dc)
        best = jnp.argmax(gain, axis=-1).astype(jnp.int32)
        gained = jnp.max(gain, axis=-1)
        threshold = jax.lax.top_k(gained.ravel(), gained.size)[0][state.moved - 1]
        proposed = jnp.where((gained >= threshold) & (gained > 0), best, state.steps)
        value, gradient = value_and_gradient(reflections[proposed])
        moved = _Exchange(proposed, value, gradient, state.moved)
        kept = state._replace(moved=jnp.maximum(state.moved // 2, 1))
        return jax.tree.map(lambda new, old: jnp.where(value > state.value, new, old), moved, kept), None

    value_and_gradient = jax.value_and_grad(value_of)
    first = _Exchange(steps, *value_and_gradient(reflections[steps]), jnp.asarray(max(steps.size // _FIRST_SHARE, 1)))
    return jax.lax.scan(advance, first, None, length=ROUNDS)[0].steps
