"""Criteria of a code design: values against direct computations, finite gradients at degenerate inputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config.code_design import CRITERIA
from risjax.physics.code_design.criteria import coherence, crb, mutual_information, position_information
from risjax.physics.code_design.optimise import at_step, gram_of
from risjax.physics.code_design.prior import DesignPrior, design_prior
from risjax.registry import implementation_of
from tests.tiny import tiny_config

PHYSICS = tiny_config().physics
NAMES = sorted(CRITERIA)


def some_channel(seed=0):
    parts = np.random.default_rng(seed).standard_normal((2, 8, 36))
    return jnp.asarray(parts[0] + 1j * parts[1], jnp.complex64)


def some_codes(seed=0):
    return jnp.asarray(np.exp(2j * np.pi * np.random.default_rng(seed).random((8, 36))), jnp.complex64)


def some_prior(positions=8, seed=0) -> DesignPrior:
    return at_step(design_prior(jax.random.key(seed), PHYSICS, 1, positions), jnp.asarray(0))


def measurement_matrix(channel, codes):
    channel = np.asarray(channel, complex) * np.sqrt(8 / np.sum(np.abs(channel) ** 2))
    return np.concatenate([channel * code for code in np.asarray(codes, complex)])


def test_the_gram_matrix_is_that_of_the_measurement_matrix():
    matrix = measurement_matrix(some_channel(), some_codes())
    np.testing.assert_allclose(gram_of(some_channel(), some_codes()), matrix.conj().T @ matrix, atol=1e-4)


def test_mutual_information_is_the_log_determinant():
    prior = some_prior()
    matrix = measurement_matrix(some_channel(), some_codes())
    factor = matrix @ np.asarray(prior.factor, complex)
    rho = float(prior.field_snr)
    expected = np.linalg.slogdet(np.eye(64) + rho * factor @ factor.conj().T)[1] * 2 / factor.shape[1]
    np.testing.assert_allclose(mutual_information(gram_of(some_channel(), some_codes()), prior), expected, rtol=1e-4)


def test_position_information_is_a_bayesian_bound_with_the_other_sources_as_a_gaussian_field():
    prior = some_prior()
    matrix = measurement_matrix(some_channel(), some_codes())
    rho = float(prior.field_snr)
    factor = matrix @ np.asarray(prior.factor, complex)
    noise = np.linalg.inv(np.eye(64) + rho * factor @ factor.conj().T)
    logs = []
    for columns in np.asarray(prior.columns, complex):
        image = matrix @ columns
        for snr in np.asarray(prior.snr):
            scaled = image * np.sqrt(36 * snr) * np.array([1 / np.sqrt(36 * snr), 1, 1, 1])
            real = np.concatenate([scaled[:, :1], 1j * scaled[:, :1], scaled[:, 1:]], axis=1)
            information = 2 * (real.conj().T @ noise @ real).real
            information += np.diag([0.04, 0.04, *np.asarray(prior.precision)])
            logs.append(-np.log(np.linalg.inv(information)[4, 4]))
    gram = gram_of(some_channel(), some_codes())
    value = position_information(gram, prior) - mutual_information(gram, prior)
    np.testing.assert_allclose(value, np.mean(logs), rtol=2e-3, atol=2e-3)


def test_crb_of_a_single_source_is_the_inverse_of_its_information():
    prior = some_prior(positions=1)
    image = measurement_matrix(some_channel(), some_codes()) @ np.asarray(prior.columns[0], complex)
    logs = []
    for snr in np.asarray(prior.snr):
        real = np.concatenate([image[:, :1], 1j * image[:, :1], image[:, 1:]], axis=1) * np.sqrt(36 * snr)
        information = 2 * (real.conj().T @ real).real + np.diag([2, 2, *np.asarray(prior.precision)])
        logs.append(-np.log(np.linalg.inv(information)[4, 4]))
    np.testing.assert_allclose(crb(gram_of(some_channel(), some_codes()), prior), np.mean(logs), rtol=1e-3, atol=1e-3)


def test_coherence_approximates_minus_the_largest_correlation():
    prior = some_prior(positions=4)
    images = measurement_matrix(some_channel(), some_codes()) @ np.asarray(prior.columns[..., 0], complex).T
    images /= np.linalg.norm(images, axis=0)
    correlation = np.abs(images.conj().T @ images) - np.eye(4)
    value = -float(coherence(gram_of(some_channel(), some_codes()), prior))
    assert correlation.max() <= value * 1.001 <= correlation.max() * 12 ** (1 / 8) * 1.01


@functools.cache
def _value_and_slope(name):
    """Compiled once for all cases."""
    criterion = implementation_of(CRITERIA[name])

    def value_of(phase_rad, channel, prior):
        return criterion(gram_of(channel, jnp.exp(1j * phase_rad)), prior)

    return jax.jit(jax.value_and_grad(value_of))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["random", "zero channel", "equal codes", "coincident", "rank one"])
def test_gradients_are_finite(name, case):
    channel, codes, prior = some_channel(), some_codes(), some_prior()
    if case == "zero channel":
        channel = jnp.zeros_like(channel)
    elif case == "equal codes":
        codes = jnp.ones_like(codes)
    elif case == "coincident":
        prior = prior._replace(columns=jnp.broadcast_to(prior.columns[:1], prior.columns.shape))
    elif case == "rank one":
        channel = jnp.ones_like(channel)
    value, slope = _value_and_slope(name)(jnp.angle(codes), channel, prior)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name):
    direction = np.random.default_rng(1).standard_normal((8, 36)).astype(np.float32)
    phase_rad = np.angle(some_codes())

    def at(step):
        return _value_and_slope(name)(jnp.asarray(phase_rad + step * direction), some_channel(), some_prior())

    difference = (at(0.01)[0] - at(-0.01)[0]) / 0.02
    np.testing.assert_allclose(np.sum(np.asarray(at(0.0)[1]) * direction), difference, rtol=0.02, atol=2e-3)
