"""Each term of the loss: value and gradient, on healthy and on degenerate predictions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import normalise_trace
from risjax.loss import covariance_nmse, projector_distance
from risjax.types import LowRankCovariance

N, RANK, K = 16, 6, 3


def random_factor(seed: int, columns: int, dtype=jnp.float32) -> jax.Array:
    keys = jax.random.split(jax.random.key(seed))
    return jax.lax.complex(
        jax.random.normal(keys[0], (N, columns), dtype), jax.random.normal(keys[1], (N, columns), dtype)
    )


def masked(label: jax.Array, num_sources: int) -> jax.Array:
    return jnp.where(jnp.arange(label.shape[1])[None, :] < num_sources, label, 0)


def nmse_reference(predicted, label, diagonal=1.0):
    def unit(factor):
        matrix = np.asarray(factor, np.complex128) @ np.asarray(factor, np.complex128).conj().T
        return matrix * N / np.trace(matrix).real

    weight = np.sqrt(np.where(np.eye(N), diagonal, 1.0))
    return np.linalg.norm(weight * (unit(predicted) - unit(label))) ** 2 / np.linalg.norm(weight * unit(label)) ** 2


def projector_reference(predicted, label, num_sources):
    def projector(factor):
        left = np.linalg.svd(np.asarray(factor, np.complex128))[0][:, :num_sources]
        return left @ left.conj().T

    return np.linalg.norm(projector(predicted) - projector(label)) ** 2 / (2 * num_sources)


def test_nmse_value():
    predicted, label = random_factor(0, RANK), random_factor(1, K)
    np.testing.assert_allclose(covariance_nmse(predicted, label), nmse_reference(predicted, label), rtol=1e-5)


@pytest.mark.parametrize("diagonal", [0.0, 0.3, 1.0, 4.0])
def test_nmse_with_a_weighted_diagonal(diagonal):
    predicted, label = random_factor(0, RANK), random_factor(1, K)
    expected = nmse_reference(predicted, label, diagonal)
    np.testing.assert_allclose(covariance_nmse(predicted, label, diagonal), expected, rtol=1e-5)
    assert float(covariance_nmse(jnp.zeros((N, RANK), jnp.complex64), label, diagonal)) == pytest.approx(1.0)
    assert abs(nmse_reference(predicted, label, 0.0) - nmse_reference(predicted, label)) > 0.01


def test_nmse_ignores_scale_and_order_and_vanishes_at_the_truth():
    label = random_factor(1, K)
    np.testing.assert_allclose(covariance_nmse(7.0 * label[:, ::-1], label), 0.0, atol=1e-10)


@pytest.mark.parametrize("num_sources", [1, 2, 3])
def test_projector_value(num_sources):
    predicted, label = random_factor(0, RANK), masked(random_factor(1, K), num_sources)
    covariance = LowRankCovariance(predicted, jnp.asarray(1e-3))
    got = projector_distance(covariance, label, jnp.asarray(num_sources))
    np.testing.assert_allclose(got, projector_reference(predicted, label, num_sources), atol=1e-5)


def loss_of(term: str, real: jax.Array, imag: jax.Array, label: jax.Array, num_sources) -> jax.Array:
    predicted = jax.lax.complex(real, imag)
    if term == "nmse":
        return covariance_nmse(predicted, label)
    covariance = LowRankCovariance(normalise_trace(predicted), jnp.asarray(1e-3, real.dtype))
    return projector_distance(covariance, label, num_sources)


@pytest.mark.parametrize("term", ["nmse", "projector"])
def test_gradient_against_central_differences_in_float64(term):
    with jax.enable_x64(True):
        predicted, label = random_factor(0, RANK, jnp.float64), masked(random_factor(1, K, jnp.float64), 2)
        direction = random_factor(5, RANK, jnp.float64)

        def along(step):
            moved = predicted + step * direction
            return loss_of(term, moved.real, moved.imag, label, jnp.asarray(2))

        step = 1e-5
        numeric = (along(step) - along(-step)) / (2 * step)
        analytic = jax.grad(along)(0.0)
        np.testing.assert_allclose(analytic, numeric, rtol=1e-6)


DEGENERATE = {
    "all zero": jnp.zeros((N, RANK)),
    "two equal columns": random_factor(2, RANK).real.at[:, 1].set(random_factor(2, RANK).real[:, 0]),
    "rank one": jnp.ones((N, RANK)),
    "zero columns": random_factor(2, RANK).real.at[:, 1:].set(0.0),
    "orthonormal columns": jnp.eye(N)[:, :RANK],
    "tiny": 1e-38 * random_factor(2, RANK).real,
    "huge": 1e38 * random_factor(2, RANK).real,
}


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("term", ["nmse", "projector"])
def test_degenerate_predictions_have_finite_values_and_gradients(term, case):
    label = masked(random_factor(1, K), 2)

    @jax.jit
    def value_and_gradient(real):
        return jax.value_and_grad(lambda r: loss_of(term, r, 0.5 * r, label, jnp.asarray(2)))(real)

    value, gradient = value_and_gradient(DEGENERATE[case])
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
