"""Each term of the loss: value and gradient, on healthy and on degenerate predictions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import LowRankCovariance, normalise_trace
from risjax.loss import covariance_nmse, projector_distance

N, RANK, K = 16, 6, 3


def random_factor(seed: int, columns: int, dtype=jnp.float32) -> jax.Array:
    keys = jax.random.split(jax.random.key(seed))
    return jax.lax.complex(
        jax.random.normal(keys[0], (N, columns), dtype), jax.random.normal(keys[1], (N, columns), dtype)
    )


def masked(label: jax.Array, num_sources: int) -> jax.Array:
    return jnp.where(jnp.arange(label.shape[1])[None, :] < num_sources, label, 0)


def nmse_reference(predicted, label):
    def unit(factor):
        matrix = np.asarray(factor, np.complex128) @ np.asarray(factor, np.complex128).conj().T
        return matrix * N / np.trace(matrix).real

    return np.linalg.norm(unit(predicted) - unit(label)) ** 2 / np.linalg.norm(unit(label)) ** 2


def projector_reference(predicted, label, num_sources):
    def projector(factor):
        left = np.linalg.svd(np.asarray(factor, np.complex128))[0][:, :num_sources]
        return left @ left.conj().T

    return np.linalg.norm(projector(predicted) - projector(label)) ** 2 / (2 * num_sources)


def test_nmse_value():
    predicted, label = random_factor(0, RANK), random_factor(1, K)
    np.testing.assert_allclose(covariance_nmse(predicted, label), nmse_reference(predicted, label), rtol=1e-5)
    assert float(covariance_nmse(jnp.zeros((N, RANK), jnp.complex64), label)) == pytest.approx(1.0)


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
