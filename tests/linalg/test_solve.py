"""Solves through the Cholesky factor of a loaded matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import cholesky_solve
from tests.linalg.reference import TOLERANCE, assert_transforms_agree, random_array, with_eigenvalues

SIZE = 6
SPECTRA = {
    "healthy": [4.0, 3.0, 2.0, 1.0, 0.5, 0.3],
    "singular": [4.0, 2.0, 0.0, 0.0, 0.0, 0.0],
    "identity": [1.0] * SIZE,
    "zero": [0.0] * SIZE,
}


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_solution_and_transforms(dtype):
    batch = np.stack([with_eigenvalues(values, 0, dtype) for values in SPECTRA.values()])
    rhs = jnp.asarray(random_array(4, (SIZE, 2), dtype))
    solution = jax.vmap(lambda matrix: cholesky_solve(matrix, rhs, 0.5))(jnp.asarray(batch))
    expected = np.linalg.solve(batch + 0.5 * np.eye(SIZE, dtype=dtype), rhs)
    assert solution.dtype == jnp.dtype(dtype)
    np.testing.assert_allclose(solution, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert_transforms_agree(
        lambda matrix: jnp.sum(jnp.real(cholesky_solve(matrix, rhs, 0.5)) ** 2), batch, 30 * TOLERANCE[dtype]
    )


def test_gradients_in_matrix_rhs_and_loading_are_those_of_an_explicit_inverse():
    matrix, rhs = jnp.asarray(with_eigenvalues(SPECTRA["healthy"])), jnp.asarray(random_array(4, (SIZE,)))

    def loss(solve, m, b, loading):
        return jnp.sum(jnp.abs(solve(m, b, loading)) ** 2)

    def explicit(m, b, loading):
        return jnp.linalg.inv((m + m.conj().T) / 2 + loading * jnp.eye(SIZE)) @ b

    ours, theirs = (
        jax.jit(jax.grad(lambda *x, s=s: loss(s, *x), argnums=(0, 1, 2)))(matrix, rhs, 0.1)
        for s in (cholesky_solve, explicit)
    )
    for actual, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_a_loading_too_small_for_the_dtype_is_raised_instead_of_giving_nan(dtype):
    column = random_array(0, (SIZE, 1))
    singular = jnp.asarray((column @ column.conj().T).astype(dtype))
    rhs = jnp.ones(SIZE, dtype)
    value, gradient = jax.value_and_grad(lambda m: jnp.real(jnp.vdot(rhs, cholesky_solve(m, rhs, 0.0))))(singular)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()
