"""The eigen-decomposition for losses of eigenvalues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import safe_eigh
from tests.linalg.reference import TOLERANCE, assert_transforms_agree, random_array, with_eigenvalues

SPECTRA = {
    "distinct": [5.0, 3.0, 2.0, 1.0, 0.5, 0.2],
    "repeated": [5.0, 5.0, 2.0, 1.0, 1.0, 1.0],
    "identity": [1.0] * 6,
}


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_symmetric_functions_of_repeated_eigenvalues_have_the_right_gradient(dtype):
    batch = np.stack([with_eigenvalues(values, 0, dtype) for values in SPECTRA.values()])

    def log_determinant(matrix):
        return jnp.sum(jnp.log(safe_eigh(matrix)[0]))

    assert_transforms_agree(log_determinant, batch, 3 * TOLERANCE[dtype])
    gradient = jax.vmap(jax.grad(log_determinant))(jnp.asarray(batch))
    np.testing.assert_allclose(gradient, np.linalg.inv(batch).conj(), atol=30 * TOLERANCE[dtype])


def test_eigenvectors_of_repeated_eigenvalues_have_a_finite_derivative():
    matrix, weight = jnp.asarray(with_eigenvalues(SPECTRA["distinct"])), random_array(2, (6, 6))

    def loss(eigh, m):
        vectors = eigh(m)[1]
        return jnp.sum(jnp.abs(vectors) ** 2 * np.real(weight))

    ours, built_in = (jax.jit(jax.grad(lambda m, e=e: loss(e, m)))(matrix) for e in (safe_eigh, jnp.linalg.eigh))
    np.testing.assert_allclose((ours + ours.conj().T) / 2, (built_in + built_in.conj().T) / 2, rtol=1e-6, atol=1e-6)
    degenerate = jax.jit(jax.grad(lambda m: loss(safe_eigh, m)))(jnp.eye(6, dtype=complex))
    assert jnp.isfinite(degenerate).all()
    assert not jnp.isfinite(jax.grad(lambda m: loss(jnp.linalg.eigh, m))(jnp.eye(6, dtype=complex))).all()
