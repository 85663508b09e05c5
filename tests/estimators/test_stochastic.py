"""Parts of the stochastic likelihood for per-snapshot symbols, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.estimators.stochastic import (
    NOISE_FLOOR,
    StochasticLikelihood,
    initial_parameters,
    make_likelihood,
    minimise,
    polish_stochastic,
    standard_deviations,
)
from risjax.physics.crb import stochastic_crb
from risjax.spectral.grid import to_position
from risjax.types import Estimates, Sources
from tests.estimators.test_sparse_and_esprit import PHYSICS, TRUTH, per_snapshot

ACTIVE = np.array([True, True, False])
POSITION = np.pad(TRUTH.astype(np.float64), ((0, 1), (0, 0)))
AMPLITUDE = np.array([1.0, 0.8, 0.0], complex)


@pytest.fixture(scope="module")
def start():
    """Likelihood and parameters at the true positions, two of three slots in use."""
    with jax.enable_x64(True):
        observation = jax.tree.map(
            lambda leaf: jnp.asarray(np.asarray(leaf), jnp.complex128), per_snapshot(TRUTH, noise=0.1)
        )
        nothing = jnp.zeros(3)
        position, active = jnp.asarray(POSITION), jnp.asarray(ACTIVE)
        estimates = Estimates(position, jnp.asarray(AMPLITUDE), active, 0 * position, nothing, nothing)
        likelihood = make_likelihood(observation, active, PHYSICS)
        yield likelihood, initial_parameters(likelihood, estimates)


def test_snapshots_are_scaled_to_unit_power_and_parameters_are_those_of_the_estimates(start) -> None:
    likelihood, theta = start
    np.testing.assert_allclose(np.mean(np.abs(likelihood.observation.snapshots) ** 2), 1, rtol=1e-12)
    cosines, log_powers, log_noise = likelihood.split(theta)
    np.testing.assert_allclose(np.asarray(cosines)[:2, 1], np.sin(TRUTH[:, 1].astype(np.float64)), rtol=1e-12)
    power = np.exp(np.asarray(log_powers)) * likelihood.scale / likelihood.lift
    np.testing.assert_allclose(power[:2], np.abs(AMPLITUDE[:2]) ** 2, rtol=1e-12)
    np.testing.assert_allclose(np.exp(log_noise), 0.1, rtol=1e-12)


def test_the_gradient_is_that_of_the_value(start) -> None:
    likelihood, theta = start
    with jax.enable_x64(True):
        evaluated, slope = jax.jit(
            lambda t: (likelihood.evaluate(t), jax.grad(lambda x: likelihood.evaluate(x).value)(t))
        )(theta)
    np.testing.assert_allclose(evaluated.gradient, slope, rtol=1e-8, atol=1e-8 * np.abs(slope).max())


def test_parameters_stay_in_the_domain_and_those_that_would_leave_it_are_held(start) -> None:
    likelihood, theta = start
    with jax.enable_x64(True):
        outside = theta.at[2].set(1e3).at[-1].set(-100.0)
        inside = likelihood.into_domain(outside)
        gradient = jnp.zeros_like(theta).at[2].set(-1.0).at[-1].set(1.0)
        free = np.asarray(likelihood.is_free(inside, gradient))
    np.testing.assert_allclose(inside[2], 1 / PHYSICS.scene.range_m[0], rtol=1e-12)
    np.testing.assert_allclose(np.exp(inside[-1]), NOISE_FLOOR, rtol=1e-12)
    assert not free[2]
    assert not free[-1]
    assert not free[6:9].any()
    assert free[[0, 1, 3, 4, 5, 9, 10]].all()


def test_minimising_lowers_the_value_and_its_widths_are_the_stochastic_bound(start) -> None:
    likelihood, theta = start
    with jax.enable_x64(True):
        before = likelihood.evaluate(theta)
        best, there = jax.jit(lambda t: minimise(likelihood, t, iterations=15))(theta)
        assert there.value < before.value
        free = np.asarray(likelihood.is_used)
        assert np.abs(np.asarray(there.gradient)[free]).max() < 1e-4 * np.abs(np.asarray(before.gradient)).max()
        std, sources, noise = _at(likelihood, best, there.information)
        bound = stochastic_crb(PHYSICS.array, likelihood.observation, sources, noise)
    np.testing.assert_allclose(std[:2], bound.std[:2], rtol=1e-4)


@pytest.mark.parametrize(("snapshots", "channel"), [(2.0**-70, 1.0), (2.0**60, 2.0**50), (1.0, 2.0**-60)])
def test_units_of_powers_of_two_change_no_bit(snapshots: float, channel: float) -> None:
    observation = per_snapshot(TRUTH, noise=0.1)
    empty = jnp.zeros(3)
    estimates = Estimates(
        jnp.asarray(POSITION, jnp.float32),
        jnp.asarray(AMPLITUDE, jnp.complex64),
        jnp.asarray(ACTIVE),
        jnp.zeros((3, 3)),
        empty,
        empty,
    )
    polish = jax.jit(lambda seen, start: polish_stochastic(seen, start, PHYSICS, iterations=5))
    expected = polish(observation, estimates)
    scaled = observation._replace(
        snapshots=observation.snapshots * np.float32(snapshots), channel=observation.channel * np.float32(channel)
    )
    factor = np.float32(snapshots / channel)
    found = polish(scaled, estimates._replace(amplitude=estimates.amplitude * factor))
    assert np.all(np.asarray(expected.active)[:2])
    for name in ("position", "active", "std", "score"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    np.testing.assert_array_equal(found.amplitude, expected.amplitude * factor)


def _at(likelihood: StochasticLikelihood, theta, information):
    """Standard deviations, sources and noise variance at some parameters, for snapshots of unit power."""
    cosines, log_powers, log_noise = likelihood.split(theta)
    amplitude = jnp.where(likelihood.active, jnp.exp(0.5 * log_powers) / jnp.sqrt(likelihood.lift), 0)
    sources = Sources(to_position(cosines), amplitude.astype(complex), likelihood.active)
    return standard_deviations(likelihood, cosines, information), sources, jnp.exp(log_noise)
