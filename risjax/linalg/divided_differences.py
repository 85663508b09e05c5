"""First and second divided differences of a smooth function, accurate also for equal and nearly equal arguments.

======== ======================================================================================
symbol   meaning
======== ======================================================================================
f[a, b]    (f(a) - f(b)) / (a - b), and f'(a) for a = b
f[a, b, c] (f[a, b] - f[b, c]) / (a - c), and f''(a) / 2 for a = b = c
======== ======================================================================================

Both are averages of a derivative (Hermite and Genocchi),

    f[a, b]    = int_0^1 f'(a + t (b - a)) dt,
    f[a, b, c] = int_0^1 int_0^1 t f''(a + t (b - a) + t s (c - b)) ds dt.

The quotient loses digits where its arguments are close, and Gauss-Legendre quadrature of the average where they are far
apart. Each entry takes the quadrature if that is the more accurate of the two by estimates of both errors: rounding for
the quotient, the difference between two orders for the quadrature.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Scalar = Callable[[Array], Array]
"""A smooth function of one real number, which JAX can trace."""


def derivative(f: Scalar) -> Scalar:
    """f', by forward mode."""
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def elementwise(f: Scalar) -> Scalar:
    """f of every entry of an array."""
    return lambda array: jax.vmap(f)(array.ravel()).reshape(array.shape)


def first_differences(f: Scalar, values: Float[Array, " N"]) -> tuple[Float[Array, "N N"], Float[Array, "N N"]]:
    """f[lambda_i, lambda_j], [N, N], and estimates of its errors."""
    eps = float(jnp.finfo(values.dtype).eps)
    image, gap = elementwise(f)(values), values[None, :] - values[:, None]
    low, high = _weighted_sums(derivative(f), (values[:, None], gap), _line_rules())
    rounding = eps * (jnp.abs(image[:, None]) + jnp.abs(image[None, :]))
    return _more_accurate(image[None, :] - image[:, None], rounding, gap, high, jnp.abs(high - low))


def second_differences(f: Scalar, values: Float[Array, " N"]) -> Float[Array, "N N N"]:
    """f[lambda_i, lambda_k, lambda_j], [N, N, N], for eigenvalues in descending or ascending order."""
    table, error = first_differences(f, values)
    index = jnp.arange(values.shape[0])
    triples = jnp.sort(jnp.stack(jnp.meshgrid(index, index, index, indexing="ij")), axis=0)
    first, middle, last = triples[0], triples[1], triples[2]  # the outer two are the farthest apart
    a, b, c = values[first], values[middle], values[last]
    low, high = _weighted_sums(derivative(derivative(f)), (a, b - a, c - b), _triangle_rules())
    difference, rounding = table[middle, last] - table[first, middle], error[middle, last] + error[first, middle]
    return _more_accurate(difference, rounding, c - a, high, jnp.abs(high - low))[0]


def _weighted_sums(f: Scalar, terms: tuple[Array, ...], rules: np.ndarray) -> tuple[Array, Array]:
    """Two quadrature sums of f at the points terms[0] + r_1 terms[1] + ..., a point for each row (r_1, ..., w_1, w_2).

    A loop over the points, so that f is compiled once and no array holds all points.
    """
    count = len(terms) - 1

    def add(sums: tuple[Array, Array], row: Array) -> tuple[tuple[Array, Array], None]:
        offsets = (ratio * term for ratio, term in zip(row[:count], terms[1:], strict=True))
        value = elementwise(f)(sum(offsets, start=terms[0]))
        return (sums[0] + row[count] * value, sums[1] + row[count + 1] * value), None

    zeros = jnp.zeros_like(sum(terms[1:], start=terms[0]))
    return jax.lax.scan(add, (zeros, zeros), jnp.asarray(rules, zeros.dtype))[0]


def _line_rules() -> np.ndarray:
    """Rows (t, w_1, w_2): Gauss-Legendre rules of 4 and of 5 points on [0, 1]."""
    rows = [(t, *((w, 0.0) if order == 4 else (0.0, w))) for order in (4, 5) for t, w in _gauss_legendre(order)]
    return np.array(rows)


def _triangle_rules() -> np.ndarray:
    """Rows (t, t s, t w_1, t w_2): product rules of 3 x 3 and of 4 x 4 points."""
    rows = [
        (t, t * s, *((t * wt * ws, 0.0) if order == 3 else (0.0, t * wt * ws)))
        for order in (3, 4)
        for t, wt in _gauss_legendre(order)
        for s, ws in _gauss_legendre(order)
    ]
    return np.array(rows)


def _gauss_legendre(order: int) -> np.ndarray:
    """Nodes and weights on [0, 1], [order, 2]."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return np.stack([0.5 * (1.0 + nodes), 0.5 * weights], axis=1)


def _more_accurate(
    difference: Array, rounding: Array, gap: Array, average: Array, average_error: Array
) -> tuple[Array, Array]:
    """The quotient difference / gap or the average, whichever has the smaller error, and that error.

    A comparison with NaN is false, so that a singularity of f between the arguments leaves the quotient.
    """
    eps = float(jnp.finfo(gap.dtype).eps)
    is_open = gap != 0
    safe_gap = jnp.where(is_open, gap, 1.0)
    quotient_error = jnp.where(is_open, rounding / jnp.abs(safe_gap), jnp.inf)
    use_average = jax.lax.stop_gradient(average_error) <= quotient_error
    value = jnp.where(use_average, average, jnp.where(is_open, difference, 0.0) / safe_gap)
    error = jnp.where(use_average, average_error, quotient_error)
    return value, error + eps * jnp.abs(value)
