"""Functions of a Hermitian matrix and the divided differences of their derivatives."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import spectral_function
from risjax.linalg.divided_differences import first_differences, second_differences
from tests.linalg.reference import FINITE_DIFFERENCE_TOLERANCE, random_array, with_eigenvalues
from tests.linalg.test_second_derivatives import assert_hessian_is_the_difference, directions

SPECTRA = {
    "distinct": [3.0, 2.5, 2.0, 1.0, 0.5, 0.2],
    "equal": [3.0, 3.0, 3.0, 1.0, 1.0, 1.0],
    "nearly equal": [3.0, 3.0, 3.0 - 1e-9, 2.99, 1e-4, 1e-5],
}


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_values_and_first_derivatives_are_those_of_the_inverse(dtype):
    matrix = np.stack([with_eigenvalues(SPECTRA[name], 0, dtype) for name in ("distinct", "equal")])
    change = directions(dtype)[:2]
    value, derivative = jax.jvp(
        jax.jit(lambda m: spectral_function(m, lambda x: 1 / x)), (jnp.asarray(matrix),), (change,)
    )
    inverse = np.linalg.inv(matrix)
    assert value.dtype == dtype
    np.testing.assert_allclose(value, inverse, atol=1e-12)
    np.testing.assert_allclose(derivative, -inverse @ change @ inverse, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_second_derivatives_by_matrix_and_parameter_are_difference_quotients(dtype):
    weight = jnp.asarray(random_array(4, (6, 6), dtype))

    def of_weights(weights, matrix):
        moved = matrix + jnp.sum(weights[:2, None, None] * directions(dtype)[:2], axis=0)
        image = spectral_function(moved, lambda x: jnp.exp((0.5 + weights[2]) * x) + x * weights[2] ** 2)
        return jnp.sum(jnp.real(weight * image))

    gradient = jax.jit(jax.grad(of_weights))
    forward, reverse = jax.jacfwd(gradient), jax.jacrev(gradient)
    hessians = jax.jit(lambda w, m: (forward(w, m), reverse(w, m)))
    for values in SPECTRA.values():
        assert_hessian_is_the_difference(gradient, hessians, jnp.asarray(with_eigenvalues(values, 0, dtype)))


@pytest.mark.parametrize(
    ("f", "first", "second"),
    [
        (jnp.exp, lambda a, b: np.exp((a + b) / 2) * np.sinh((a - b) / 2) / ((a - b) / 2), None),
        (lambda x: 1 / x, lambda a, b: -1 / (a * b), lambda a, b, c: 1 / (a * b * c)),
        (lambda x: x**3, lambda a, b: a * a + a * b + b * b, lambda a, b, c: a + b + c),
        (jnp.sqrt, lambda a, b: 1 / (np.sqrt(a) + np.sqrt(b)), None),
    ],
    ids=["exp", "reciprocal", "cube", "root"],
)
def test_divided_differences_are_accurate_from_equal_to_distant_arguments(f, first, second):
    values = np.array([1e-6, 2e-6, 1e-3, 0.5, 0.5 + 1e-12, 0.5 + 1e-6, 0.51, 0.6, 1.0, 4.0])
    a, b = values[:, None], values[None, :]
    with np.errstate(invalid="ignore"):
        expected = first(a, b)
    table = jax.jit(lambda x: first_differences(f, x)[0])(jnp.asarray(values))
    off_diagonal = ~np.eye(10, dtype=bool)
    np.testing.assert_allclose(np.asarray(table)[off_diagonal], expected[off_diagonal], rtol=1e-12)
    np.testing.assert_allclose(np.diag(table), jax.vmap(jax.grad(f))(values), rtol=1e-12)
    if second is not None:
        table = jax.jit(lambda x: second_differences(f, x))(jnp.asarray(values))
        expected = second(values[:, None, None], values[None, :, None], values[None, None, :])
        np.testing.assert_allclose(table, expected, rtol=1e-8)


def test_the_derivative_of_the_square_root_has_leading_axes_and_float32():
    matrices = jnp.stack([jnp.eye(3, dtype=jnp.float32) * 4, jnp.diag(jnp.array([1.0, 1.0, 9.0], jnp.float32))])
    root_of = jax.jit(lambda m: spectral_function(m, jnp.sqrt))
    root, change = jax.jvp(root_of, (matrices,), (jnp.ones_like(matrices),))
    assert root.dtype == jnp.float32
    np.testing.assert_allclose(root @ root, matrices, atol=1e-6)
    np.testing.assert_allclose(root @ change + change @ root, jnp.ones_like(matrices), atol=1e-6)


def test_a_third_derivative_and_wrong_functions_are_refused():
    def along(step):
        return jnp.sum(spectral_function(jnp.eye(2) + step * jnp.ones((2, 2)), jnp.exp))

    assert float(jax.jit(jax.grad(jax.grad(along)))(0.0)) == pytest.approx(8 * np.e, rel=FINITE_DIFFERENCE_TOLERANCE)
    with pytest.raises(NotImplementedError, match="third derivative"):
        jax.grad(jax.grad(jax.grad(along)))(0.0)
    with pytest.raises(ValueError, match=r"expected a scalar of the same dtype"):
        spectral_function(jnp.eye(2), lambda x: jnp.stack([x, x]))
    with pytest.raises(ValueError, match="expected square"):
        inspect.unwrap(spectral_function)(jnp.ones((2, 3)), jnp.exp)  # without the tests' own check of shapes
