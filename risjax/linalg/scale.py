"""Normalisation of a covariance's factor to trace N, over the whole range of the float's exponent."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from risjax.linalg.hermitian import modulus_squared, real_dtype, require_full_precision

GRADIENT_FLOOR = 1.0e-2
"""Largest |entry| of a factor below which `normalise_trace` shortens the gradient; see there."""


def normalise_trace(
    factor: Inexact[Array, "N rank"], *, gradient_floor: float = GRADIENT_FLOOR
) -> Inexact[Array, "N rank"]:
    """F sqrt(N / tr(F F^H)), so that R = F F^H has trace N.

    The plain quotient N / tr is NaN for an all-zero factor, overflows from |F| = 1e19 (the squares do) and underflows
    below 1e-19. So F is first divided by m = max |F|, which the result does not depend on, and then by the root of a
    trace that lies between 1 and 2 N rank.

    The result is invariant to the scale of F, so its derivative grows as 1 / m and would itself overflow for a tiny F.
    It is exact for m >= ``gradient_floor``; below, it keeps its direction and is shorter by m / ``gradient_floor``,
    so that one collapsed scene can neither overflow float16 nor drown its batch.

    Args:
        factor: F, [N, rank], full precision, finite.
        gradient_floor: see above.

    Returns:
        [N, rank]. All-zero F (or one of subnormal numbers only) gives 0, with the derivative sqrt(N) dF.

    Raises:
        ValueError: half precision.

    Example:
        The squares of 1e-30 are zero in float32, and the trace is 4 nevertheless:

        >>> factor = normalise_trace(jnp.full((4, 1), 1e-30))
        >>> round(float(jnp.sum(factor**2)), 4)
        4.0
    """
    require_full_precision(factor, where="normalise_trace")
    num_elements, real = factor.shape[-2], real_dtype(factor.dtype)
    largest = jax.lax.stop_gradient(_largest_part(factor))
    usable = largest >= jnp.finfo(real).tiny
    largest = jnp.where(usable, largest, 1.0)
    value = jax.lax.stop_gradient(_over_maximum(jnp.where(usable, factor, 0.0), largest))
    # Nothing but the derivative of F / m, with the floor in place of a smaller m: F - stop_gradient(F) is zero.
    slope = jnp.where(usable, jnp.maximum(largest, gradient_floor), 1.0)
    scaled = value + _divide(factor - jax.lax.stop_gradient(factor), slope)
    trace = jnp.sum(modulus_squared(scaled))
    return scaled * jnp.sqrt(num_elements / jnp.where(usable, trace, 1.0))


def _largest_part(array: Array) -> Array:
    """max over entries of max(|Re|, |Im|): the modulus itself overflows near the float's maximum."""
    return jnp.maximum(jnp.max(jnp.abs(jnp.real(array))), jnp.max(jnp.abs(jnp.imag(array))))


def _over_maximum(array: Array, largest: Array) -> Array:
    """array / largest, in two steps of its root.

    XLA divides by multiplying with a reciprocal, and 1 / 3e38 is subnormal, which its CPU code flushes to zero.
    """
    step = jax.lax.rsqrt(largest)
    return _by_parts(lambda part: (part * step) * step, array)


def _divide(array: Array, divisor: Array) -> Array:
    """array / divisor part by part: complex division would square its divisor."""
    return _by_parts(lambda part: part / divisor, array)


def _by_parts(function: Callable[[Array], Array], array: Array) -> Array:
    if jnp.iscomplexobj(array):
        return jax.lax.complex(function(jnp.real(array)), function(jnp.imag(array)))
    return function(array)
