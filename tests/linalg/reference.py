"""Common parts of the tests of linear algebra: tolerances by precision, named matrices and factors."""

import jax
import jax.numpy as jnp
import numpy as np

TOLERANCE = {"float32": 1e-5, "complex64": 1e-5, "float64": 1e-11, "complex128": 1e-11}
"""About 1e2 (32 bits) and 1e5 (64 bits) times eps: condition numbers of the healthy cases here are below 1e2."""

FINITE_DIFFERENCE_TOLERANCE = 1e-6
"""Central differences in float64 with a step of 1e-5 lose a third of the digits."""


def random_array(seed: int, shape: tuple[int, ...], dtype: str = "complex128") -> np.ndarray:
    """Standard normal entries, real or circular complex."""
    rng = np.random.default_rng(seed)
    array = rng.normal(size=shape)
    if np.issubdtype(dtype, np.complexfloating):
        array = array + 1j * rng.normal(size=shape)
    return array.astype(dtype)


def random_unitary(seed: int, size: int, dtype: str = "complex128") -> np.ndarray:
    """Columns orthonormal."""
    return np.linalg.qr(random_array(seed, (size, size), dtype))[0].astype(dtype)


def with_eigenvalues(eigenvalues, seed: int = 0, dtype: str = "complex128") -> np.ndarray:
    """U diag(eigenvalues) U^H for a random unitary U."""
    unitary = random_unitary(seed, len(eigenvalues))
    if not np.issubdtype(dtype, np.complexfloating):
        unitary = np.linalg.qr(np.real(unitary))[0]
    matrix = (unitary * np.asarray(eigenvalues, float)) @ unitary.conj().T
    return ((matrix + matrix.conj().T) / 2).astype(dtype)


def trace_n(factor: np.ndarray) -> np.ndarray:
    """The factor scaled to tr F F^H = N, in its own dtype."""
    return (factor * np.sqrt(factor.shape[0] / np.sum(np.abs(factor) ** 2))).astype(factor.dtype)


def directional_difference(function, point: np.ndarray, direction: np.ndarray, step: float = 1e-5) -> float:
    """(f(x + h d) - f(x - h d)) / 2 h."""
    return float((function(point + step * direction) - function(point - step * direction)) / (2 * step))


def directional_derivative(function, point, direction) -> float:
    """Re <conj(grad f), d>, which is the derivative of a real f along a complex d under jax's convention."""
    gradient = jax.grad(function)(jnp.asarray(point))
    return float(jnp.sum(jnp.real(gradient * direction)))


def assert_transforms_agree(function, batch: np.ndarray, tolerance: float) -> None:
    """Value and gradient are the same alone and under vmap, by reverse and by forward mode, all jitted, all finite.

    ``batch`` holds the rows of a table, inputs of a real-valued ``function``; one program runs them all, since the
    time of these tests is compilation. Complex inputs are differentiated by their real and imaginary parts, since
    jacfwd knows no non-holomorphic complex functions.
    """
    points = jnp.asarray(batch)
    is_complex = jnp.iscomplexobj(points)

    def of_parts(parts):
        return function(jax.lax.complex(parts[0], parts[1]) if is_complex else parts[0])

    @jax.jit
    def everything(parts):
        values, reverse = jax.vmap(jax.value_and_grad(of_parts))(parts)
        return values, reverse, jax.vmap(jax.jacfwd(of_parts))(parts), jax.value_and_grad(of_parts)(parts[0])

    parts = jnp.stack([points.real, points.imag], 1) if is_complex else points[:, None]
    values, reverse, forward, (single_value, single_gradient) = everything(parts)
    scale = max(1.0, float(jnp.max(jnp.abs(reverse))))
    assert values.dtype == reverse.dtype == jnp.finfo(points.dtype).dtype
    assert jnp.isfinite(values).all()
    assert jnp.isfinite(reverse).all()
    np.testing.assert_allclose(values[0], single_value, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(reverse[0], single_gradient, atol=tolerance * scale)
    np.testing.assert_allclose(forward, reverse, atol=tolerance * scale)
