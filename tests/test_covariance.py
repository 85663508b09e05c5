"""The effective covariance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import CovarianceConfig
from risjax.covariance import dense, effective_covariance, from_dense
from risjax.spectral.spectrum import mvdr_spectrum

N, RANK = 12, 4


def factors(scale: float = 1.0) -> tuple[jax.Array, jax.Array]:
    keys = jax.random.split(jax.random.key(3), 4)
    predicted = jax.lax.complex(jax.random.normal(keys[0], (N, RANK)), jax.random.normal(keys[1], (N, RANK)))
    sample = jax.lax.complex(jax.random.normal(keys[2], (N, 1)), jax.random.normal(keys[3], (N, 1)))
    return scale * predicted, scale * sample


def reference(predicted: np.ndarray, sample: np.ndarray, config: CovarianceConfig) -> np.ndarray:
    """The model equation with dense matrices in float64."""

    def unit_trace(factor):
        matrix = factor.astype(np.complex128) @ factor.astype(np.complex128).conj().T
        return matrix * N / np.trace(matrix).real

    blended = (1 - config.blend) * unit_trace(predicted) + config.blend * unit_trace(sample)
    return (blended + config.loading * np.eye(N)) / (1 + config.loading)


@pytest.mark.parametrize("blend", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("loading", [1e-4, 1.0])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_equals_the_dense_model_equation(blend, loading, scale):
    config = CovarianceConfig(blend=blend, loading=loading)
    predicted, sample = factors(scale)
    got = dense(effective_covariance(predicted, sample, config))
    np.testing.assert_allclose(got, reference(np.asarray(predicted), np.asarray(sample), config), atol=2e-5)
    np.testing.assert_allclose(jnp.trace(got).real, N, rtol=1e-5)


def test_shrinkage_before_a_loading_is_a_larger_loading():
    share, loading = 0.2, 0.05
    predicted, sample = factors()
    got = dense(effective_covariance(predicted, sample, CovarianceConfig(loading=(share + loading) / (1 - share))))
    unloaded = reference(np.asarray(predicted), np.asarray(sample), CovarianceConfig(loading=1e-12))
    shrunk = (1 - share) * unloaded + share * np.eye(N)
    np.testing.assert_allclose(got, (shrunk + loading * np.eye(N)) / (1 + loading), atol=2e-5)


@pytest.mark.parametrize("blend", [0.0, 0.1])
def test_zero_factors_give_a_finite_covariance_and_gradient(blend):
    config = CovarianceConfig(blend=blend)
    _, sample = factors()

    def trace(real):
        covariance = effective_covariance(jax.lax.complex(real, real), sample, config)
        return jnp.sum(jnp.abs(dense(covariance)))

    value, gradient = jax.value_and_grad(trace)(jnp.zeros((N, RANK)))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_works_under_jit_and_vmap():
    predicted, sample = factors()
    batch = jnp.stack([predicted, 2 * predicted]), jnp.stack([sample, sample])
    config = CovarianceConfig()
    got = jax.jit(jax.vmap(lambda p, s: dense(effective_covariance(p, s, config))))(*batch)
    np.testing.assert_allclose(got[0], got[1], atol=1e-5)


def test_a_full_covariance_gives_the_spectrum_of_its_inverse():
    key = jax.random.key(7)
    root = jax.lax.complex(jax.random.normal(key, (N, N)), jax.random.normal(jax.random.fold_in(key, 1), (N, N)))
    matrix = root @ root.conj().T
    found = from_dense(matrix, 0.1)
    np.testing.assert_allclose(dense(found), matrix + 0.1 * jnp.eye(N), rtol=1e-4, atol=1e-4)
    vectors = root[:3] / jnp.linalg.norm(root[:3], axis=1, keepdims=True)
    inverse = np.linalg.inv(np.asarray(matrix, np.complex128) + 0.1 * np.eye(N))
    expected = 1 / np.einsum("gn,nm,gm->g", np.conj(vectors), inverse, vectors).real
    np.testing.assert_allclose(mvdr_spectrum(found, vectors), expected, rtol=1e-3)
