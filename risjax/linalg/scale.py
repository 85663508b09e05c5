"""Normalisation of a covariance's factor to trace N, for all magnitudes that the dtype represents."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from risjax.linalg.hermitian import modulus_squared, real_dtype, require_full_precision

GRADIENT_FLOOR = 1.0e-2
"""Largest |entry| of a factor below which `normalise_trace` reduces the gradient."""


def normalise_trace(
    factor: Inexact[Array, "N rank"], *, gradient_floor: float = GRADIENT_FLOOR
) -> Inexact[Array, "N rank"]:
    """F sqrt(N / tr(F F^H)), so that R = F F^H has trace N.

    In float32 the plain quotient N / tr is NaN for an all-zero factor, and its squares overflow above |F| = 1e19 and
    underflow below 1e-19. F is therefore divided first by m = max |F|, on which the result does not depend, and then by
    the root of a trace between 1 and 2 N rank.

    The result does not depend on the scale of F, so its derivative grows as 1 / m and would overflow for a tiny F. It
    is exact for m >= ``gradient_floor``. Below, it is multiplied by m / ``gradient_floor``, so that a scene whose
    prediction collapsed neither overflows float16 nor dominates the gradient of its batch.

    Args:
        factor: F, [N, rank], full precision, finite.
        gradient_floor: m below which the derivative is reduced.

    Returns:
        [N, rank]. An F of zeros or subnormal numbers gives 0, with the derivative sqrt(N) dF.

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
    # F - stop_gradient(F) is zero and adds only the derivative of F / m, with the floor in place of a smaller m.
    slope = jnp.where(usable, jnp.maximum(largest, gradient_floor), 1.0)
    scaled = value + _divide(factor - jax.lax.stop_gradient(factor), slope)
    trace = jnp.sum(modulus_squared(scaled))
    return scaled * jnp.sqrt(num_elements / jnp.where(usable, trace, 1.0))


def _largest_part(array: Array) -> Array:
    """max over entries of max(|Re|, |Im|); the modulus would overflow near the largest float."""
    return jnp.maximum(jnp.max(jnp.abs(jnp.real(array))), jnp.max(jnp.abs(jnp.imag(array))))


def _over_maximum(array: Array, largest: Array) -> Array:
    """array / largest, by two multiplications with 1 / sqrt(largest).

    XLA divides by multiplying with a reciprocal. 1 / 3e38 is subnormal, and XLA's CPU code flushes it to zero.
    """
    step = jax.lax.rsqrt(largest)
    return _by_parts(lambda part: (part * step) * step, array)


def _divide(array: Array, divisor: Array) -> Array:
    """array / divisor for the real and the imaginary part; complex division would square the divisor."""
    return _by_parts(lambda part: part / divisor, array)


def _by_parts(function: Callable[[Array], Array], array: Array) -> Array:
    if jnp.iscomplexobj(array):
        return jax.lax.complex(function(jnp.real(array)), function(jnp.imag(array)))
    return function(array)
