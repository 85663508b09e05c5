"""The distance of subspaces and the gap at the cut."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import eigengap, signal_projector, subspace_distance
from risjax.linalg.hermitian import TAU
from tests.linalg.reference import random_array, with_eigenvalues


def bases(shape, seed=0):
    return np.linalg.qr(random_array(seed, shape))[0]


def test_the_distance_is_the_sum_of_squared_sines_for_bases_and_projectors():
    first, second = bases((2, 7, 3)), bases((2, 7, 3), 1)
    cosines = np.linalg.svd(first.conj().swapaxes(1, 2) @ second, compute_uv=False)
    expected = np.sum(1 - cosines**2, axis=-1)
    projectors = [basis @ basis.conj().swapaxes(1, 2) for basis in (first, second)]
    for left in (first, projectors[0]):
        for right in (second, projectors[1]):
            np.testing.assert_allclose(subspace_distance(jnp.asarray(left), jnp.asarray(right)), expected, atol=1e-12)


def test_small_distances_keep_their_relative_accuracy_and_equal_subspaces_a_zero_gradient():
    basis = jnp.asarray(bases((6, 2)))
    angle = 1e-9
    turned = jnp.cos(angle) * jnp.eye(4)[:, :1] + jnp.sin(angle) * jnp.eye(4)[:, 1:2]
    assert float(subspace_distance(jnp.eye(4)[:, :1], turned)) == pytest.approx(angle**2, rel=1e-6)
    rotated = basis @ jnp.asarray(bases((2, 2), 3))
    gradient = jax.grad(lambda u: subspace_distance(u, basis))(rotated)
    np.testing.assert_allclose(gradient, jnp.zeros_like(gradient), atol=1e-14)


def test_subspaces_of_different_dimension_and_wrong_shapes():
    line, plane = jnp.eye(4)[:, :1], jnp.eye(4)[:, :2]
    assert float(subspace_distance(line, plane)) == 0.5
    with pytest.raises(ValueError, match="with the same N"):
        inspect.unwrap(subspace_distance)(line, jnp.eye(3)[:, :1])  # without the tests' own check of shapes


def test_the_gap_and_the_bias_of_the_derivative():
    values = [3.0, 2.0, 1.0, 1.0 - TAU, -0.5, -2.0]
    matrix = jnp.asarray(with_eigenvalues(values))
    mean = np.mean(np.abs(values))
    gap, relative, bias = eigengap(matrix, jnp.array([0, 1, 3, 6]))
    np.testing.assert_allclose(gap, [np.inf, 1.0, TAU, np.inf], rtol=1e-9)
    np.testing.assert_allclose(relative, np.asarray(gap) / mean, rtol=1e-9)
    np.testing.assert_allclose(bias, TAU**2 / (np.asarray(relative) ** 2 + TAU**2), rtol=1e-9)
    assert float(eigengap(matrix, 1, which="smallest").gap) == pytest.approx(1.5)
    np.testing.assert_allclose(eigengap(1e6 * matrix, 3).relative, relative[2], rtol=1e-9)
    np.testing.assert_allclose(eigengap(jnp.zeros((3, 3)), 1), (0.0, 0.0, 1.0))


def test_the_bias_is_that_of_the_projector():
    matrix = jnp.diag(jnp.array([3.0, 1.0 + 1e-4, 1.0, 0.0]))
    change = jnp.zeros((4, 4)).at[1, 2].set(1.0).at[2, 1].set(1.0)
    derivative = jax.jvp(lambda m: signal_projector(m, 2), (matrix,), (change,))[1][1, 2]
    assert float(derivative * 1e-4) == pytest.approx(1 - float(eigengap(matrix, 2).bias), rel=1e-6)
