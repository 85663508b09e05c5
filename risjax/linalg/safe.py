"""Norm, root, logarithm and angle whose values and gradients are finite at zero.

Every function masks *before* the operation, because a `jnp.where` after it would multiply zero by NaN in the backward
pass. Each docstring states value and gradient at zero. NaN gives NaN.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from risjax.linalg.hermitian import modulus_squared, real_dtype, require_full_precision


def safe_sqrt(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """sqrt(max(x, 0)); at x <= 0 value 0 and gradient 0, at NaN NaN.

    Args:
        x: any real, full precision.

    Returns:
        The root, of the shape and dtype of ``x``.

    Raises:
        ValueError: half precision.

    Example:
        >>> jax.grad(safe_sqrt)(0.0).item(), jax.grad(safe_sqrt)(4.0).item()
        (0.0, 0.25)
    """
    require_full_precision(x, where="safe_sqrt")
    is_clipped = x <= 0  # false for NaN, which therefore passes through
    return jnp.where(is_clipped, 0.0, jnp.sqrt(jnp.where(is_clipped, 1.0, x)))


def safe_log(x: Float[Array, "*shape"], *, floor: float | None = None) -> Float[Array, "*shape"]:
    """log(max(x, floor)); at x <= floor value log(floor) and gradient 0, at NaN NaN.

    Args:
        x: any real, full precision.
        floor: positive; None is the dtype's smallest normal number (log -87.3 for float32).

    Returns:
        The logarithm, of the shape and dtype of ``x``.

    Raises:
        ValueError: half precision.

    Example:
        >>> jax.grad(safe_log)(0.0).item(), jax.grad(safe_log)(4.0).item()
        (0.0, 0.25)
    """
    require_full_precision(x, where="safe_log")
    floor = float(jnp.finfo(x.dtype).tiny) if floor is None else floor
    is_clipped = x <= floor
    return jnp.where(is_clipped, jnp.log(jnp.asarray(floor, x.dtype)), jnp.log(jnp.where(is_clipped, 1.0, x)))


def safe_norm(
    x: Inexact[Array, "*shape"], *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> Float[Array, "..."]:
    """Euclidean norm over ``axis``; of an all-zero slice value 0 and gradient 0.

    Args:
        x: real or complex, full precision; divided by its largest part first, so that no square overflows.
        axis: as in `jnp.sum`.
        keepdims: as in `jnp.sum`.

    Returns:
        The norm, real, of the shape of ``jnp.sum(x, axis=axis, keepdims=keepdims)``.

    Raises:
        ValueError: half precision.

    Example:
        >>> safe_norm(jnp.array([3.0, 4.0])).item(), jax.grad(safe_norm)(jnp.zeros(2)).tolist()
        (5.0, [0.0, 0.0])
    """
    require_full_precision(x, where="safe_norm")
    parts = jnp.stack([jnp.real(x), jnp.imag(x)]) if jnp.iscomplexobj(x) else x[None]
    axis = tuple(range(x.ndim)) if axis is None else axis
    axes = tuple(a % x.ndim + 1 for a in ((axis,) if isinstance(axis, int) else axis))
    largest = jnp.max(jnp.abs(parts), axis=(0, *axes), keepdims=True, initial=0.0)
    # d(m ||x/m||) does not depend on m, so the derivative of m is left out.
    largest = jax.lax.stop_gradient(jnp.where(largest >= jnp.finfo(real_dtype(x.dtype)).tiny, largest, 1.0))
    step = jax.lax.rsqrt(largest)  # 1 / largest itself may be subnormal
    squares = jnp.sum((parts * step * step) ** 2, axis=(0, *axes), keepdims=True)
    norm = (safe_sqrt(squares) * largest)[0]
    return norm if keepdims else jnp.squeeze(norm, axis=tuple(a - 1 for a in axes))


def safe_angle(z: Inexact[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Phase of z in (-pi, pi]; at z = 0 value 0 and gradient 0.

    Args:
        z: real or complex, full precision.

    Returns:
        The phase in rad, real, of the shape of ``z``.

    Raises:
        ValueError: half precision.

    Example:
        >>> round(safe_angle(jnp.array(1j)).item(), 4), safe_angle(jnp.array(0j)).item()
        (1.5708, 0.0)
    """
    require_full_precision(z, where="safe_angle")
    nonzero = modulus_squared(z) > 0
    real = jnp.where(nonzero, jnp.real(z), 1.0)
    imag = jnp.where(nonzero, jnp.imag(z), 0.0)
    return jnp.arctan2(imag, real)
