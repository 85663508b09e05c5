"""Log-losses of the posterior head against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.detection.candidate_features import RangeLikelihood
from risjax.detection.decision import range_posterior
from risjax.loss.posterior import existence_loss, range_loss
from risjax.spectral.grid import Field

FIELD = Field((-1.0, 1.0), (-1.0, 1.0), (0.1, 2.0))


def test_existence_is_the_binary_cross_entropy_of_counted_candidates():
    logit = jnp.asarray([2.0, -1.0, 30.0])
    real = jnp.asarray([True, False, False])
    expected = -np.mean([np.log(1 / (1 + np.exp(-2.0))), np.log(1 - 1 / (1 + np.exp(1.0)))])
    assert float(existence_loss(logit, real, jnp.asarray([True, True, False]))) == pytest.approx(expected, rel=1e-5)
    assert float(existence_loss(logit, real, jnp.zeros(3, bool))) == 0.0


def test_the_loss_of_a_narrow_range_posterior_is_that_of_a_gaussian_in_inverse_range():
    std, error = 0.002, 0.003
    likelihood = RangeLikelihood(jnp.asarray([1.0]), jnp.asarray([std]), jnp.asarray([0.0]))
    posterior = range_posterior(likelihood, jnp.zeros((1, 8)), FIELD)
    found = range_loss(posterior, jnp.asarray([1.0 + error]), jnp.asarray([True]))
    expected = 0.5 * (error / std) ** 2 + np.log(std * np.sqrt(2 * np.pi))
    assert float(found) == pytest.approx(expected, abs=0.02)


def test_a_range_outside_the_posterior_has_the_floor_loss_and_finite_gradients():
    def loss(log_density, slope):
        likelihood = RangeLikelihood(jnp.asarray([0.1, 0.5]), jnp.asarray([1e-6, 0.3]), slope)
        posterior = range_posterior(likelihood, log_density, FIELD)
        return range_loss(posterior, jnp.asarray([1.9, 0.4]), jnp.asarray([True, True]))

    value, gradient = jax.value_and_grad(loss, argnums=(0, 1))(jnp.zeros((2, 8)), jnp.asarray([-50.0, 0.0]))
    assert np.isfinite(float(value))
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in gradient)
    assert np.abs(np.asarray(gradient[0])[1]).max() > 0
