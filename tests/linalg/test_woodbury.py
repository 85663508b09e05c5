"""Inverse and log-determinant of F F^H + delta I."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import LowRankCovariance, inverse_quadratic_form, log_determinant, woodbury_solve
from tests.linalg.reference import TOLERANCE, assert_transforms_agree, random_array, trace_n

SIZE, RANK, LOADING = 10, 4, 0.3

FACTORS = {
    "healthy": lambda: random_array(0, (SIZE, RANK)),
    "two equal columns": lambda: random_array(0, (SIZE, 1)) * np.array([1, 1, 0.5, 0.3]),
    "zero columns": lambda: random_array(0, (SIZE, RANK)) * np.array([1, 1, 0, 0]),
    "all zero": lambda: np.zeros((SIZE, RANK), complex),
}


def factor(name, dtype):
    matrix = FACTORS[name]()
    matrix = trace_n(matrix) if matrix.any() else matrix
    return (matrix if dtype.startswith("complex") else np.real(matrix)).astype(dtype)


def covariance(matrix, loading=LOADING):
    matrix = jnp.asarray(matrix)
    return LowRankCovariance(matrix, jnp.asarray(loading, jnp.finfo(matrix.dtype).dtype))


def dense(matrix, loading=LOADING):
    return matrix @ matrix.conj().T + loading * np.eye(SIZE)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_values_and_transforms(dtype):
    factors, vectors = np.stack([factor(name, dtype) for name in FACTORS]), random_array(2, (3, SIZE), dtype)
    exact = np.stack([dense(matrix.astype(complex)) for matrix in factors])
    solution = np.linalg.solve(exact, np.broadcast_to(vectors.T, (len(factors), SIZE, 3))).swapaxes(1, 2)
    tolerance = 10 * TOLERANCE[dtype]

    def all_three(matrix):
        cov = covariance(matrix)
        quadratic = inverse_quadratic_form(cov, jnp.asarray(vectors))
        return woodbury_solve(cov, jnp.asarray(vectors)), quadratic, log_determinant(cov)

    solved, quadratic, determinant = jax.jit(jax.vmap(all_three))(jnp.asarray(factors))
    np.testing.assert_allclose(solved, solution, atol=tolerance)
    np.testing.assert_allclose(quadratic, np.sum(vectors.conj() * solution, -1).real, rtol=tolerance)
    np.testing.assert_allclose(determinant, np.linalg.slogdet(exact)[1], rtol=tolerance)
    assert quadratic.dtype == jnp.finfo(dtype).dtype

    def loss(matrix):
        solved, quadratic, determinant = all_three(matrix)
        return jnp.sum(jnp.real(solved)) + jnp.sum(quadratic) + determinant

    assert_transforms_agree(loss, factors, 30 * tolerance)


def test_gradients_are_those_of_the_dense_inverse():
    matrix, vectors = jnp.asarray(factor("healthy", "complex128")), jnp.asarray(random_array(2, (3, SIZE)))

    def ours(f, loading, a):
        cov = LowRankCovariance(f, loading)
        return jnp.sum(inverse_quadratic_form(cov, a)) + log_determinant(cov)

    def explicit(f, loading, a):
        r = f @ f.conj().T + loading * jnp.eye(SIZE)
        return jnp.sum(jnp.real(a.conj() * (a @ jnp.linalg.inv(r).T))) + jnp.linalg.slogdet(r)[1]

    gradients = (
        jax.jit(jax.grad(f, argnums=(0, 1, 2)))(matrix, jnp.asarray(LOADING), vectors) for f in (ours, explicit)
    )
    for actual, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


def test_second_derivatives_of_the_quadratic_form_are_right():
    """Its rule is written in differentiable functions: Hessians of an MVDR spectrum (peak curvature) may use it."""
    cov, vector = covariance(factor("healthy", "float64")), jnp.asarray(random_array(2, (SIZE,), "float64"))
    hessian = jax.jit(jax.hessian(lambda a: inverse_quadratic_form(cov, a)))(vector)
    np.testing.assert_allclose(hessian, 2 * np.linalg.inv(dense(cov.factor)), rtol=1e-9)


@pytest.mark.parametrize("loading", [1e-2, 1e-3, 1e-4])
def test_a_spectrum_peak_is_accurate_in_float32(loading):
    """A vector in F's span, where the textbook form subtracts two nearly equal numbers."""
    matrix = factor("healthy", "complex128")
    vector = matrix[:, 0] / np.linalg.norm(matrix[:, 0])
    exact = np.vdot(vector, np.linalg.solve(dense(matrix, loading), vector)).real
    single = matrix.astype(np.complex64)
    got = inverse_quadratic_form(covariance(single, loading), jnp.asarray(vector.astype(np.complex64)))
    assert got == pytest.approx(exact, rel=1e-5)


def test_zero_loading_is_finite():
    vectors = jnp.ones((2, SIZE), jnp.complex64)

    def loss(matrix):
        cov = covariance(matrix, 0.0)
        return jnp.sum(inverse_quadratic_form(cov, vectors)) + log_determinant(cov)

    singular = jnp.asarray(np.stack([factor(name, "complex64") for name in FACTORS if name != "all zero"]))
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(loss)))(singular)
    assert jnp.isfinite(value).all()
    assert jnp.isfinite(gradient).all()
