"""The sampler against integrals that can be done without it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config.io import apply_overrides
from risjax.config.limit import LimitConfig
from risjax.estimators.likelihood import statistics
from risjax.experiments.bayes_limit.moves import signal_power
from risjax.experiments.bayes_limit.prior import amplitude_variance, bounds, draw_coordinates, log_density, to_polar
from risjax.experiments.bayes_limit.sequential_monte_carlo import sample_posterior
from risjax.experiments.bayes_limit.tempered_likelihood import (
    all_products,
    amplitudes,
    log_likelihood,
    replace_vector,
    unit_power,
)
from risjax.physics.array import steering
from risjax.physics.scene import draw_scene
from tests.tiny import tiny_config

CONFIG = tiny_config()
PHYSICS = CONFIG.physics
SMALL = LimitConfig(particles=128, moves=8, last_moves=32)


def scene_at(seed, physics=PHYSICS):
    return jax.jit(lambda key: draw_scene(key, physics))(jax.random.key(seed))


def some_products(data, limits, physics, seed=0, slots=2):
    q = jax.vmap(lambda key: draw_coordinates(key, limits))(jax.random.split(jax.random.key(seed), slots))
    return q, all_products(steering(physics.array, to_polar(q)), data)


def test_replacing_a_vector_equals_computing_all_products():
    data, _ = unit_power(statistics(scene_at(0).observation, PHYSICS))
    limits = bounds(PHYSICS.scene)
    q, products = some_products(data, limits, PHYSICS)
    other = steering(PHYSICS.array, to_polar(q[1] * 0.9))
    changed = replace_vector(products, jnp.asarray(1), other, data)
    again = all_products(jnp.stack([products.vectors[0], other]), data)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), changed, again)


@pytest.mark.parametrize("inverse_temperature", [0.01, 1.0])
def test_log_evidence_is_the_integral_over_the_amplitudes(inverse_temperature):
    """Against importance sampling from the amplitudes' own law: likelihood^t times prior over that law's density."""
    data, log_scale = unit_power(statistics(scene_at(1).observation, PHYSICS))
    limits = bounds(PHYSICS.scene)
    q, products = some_products(data, limits, PHYSICS)
    log_gain = jnp.asarray(np.mean(limits.log_gain), jnp.float32) - log_scale
    variance, active = amplitude_variance(q, log_gain, PHYSICS), jnp.asarray([True, True])
    log_noise, t = jnp.asarray(-1.0), jnp.asarray(inverse_temperature)
    law = amplitudes(products, variance, active, log_noise, t, data)
    normal = jax.random.normal(jax.random.key(2), (50, 2, 2)) * np.sqrt(0.5)
    for draw in normal[..., 0] + 1j * normal[..., 1]:
        away = jax.scipy.linalg.solve_triangular(law.root, draw, lower=True, trans="C")
        drawn = law.mean + away
        prior = -jnp.sum(jnp.abs(drawn) ** 2 / variance + jnp.log(variance))
        density = -jnp.sum(jnp.abs(draw) ** 2) + 2 * jnp.sum(jnp.log(jnp.diagonal(law.root).real))
        value = t * log_likelihood(products, drawn, log_noise, data) + prior - density
        np.testing.assert_allclose(value, law.log_evidence, rtol=2e-4, atol=2e-2)


def test_an_empty_slot_changes_nothing():
    data, _ = unit_power(statistics(scene_at(1).observation, PHYSICS))
    _q, products = some_products(data, bounds(PHYSICS.scene), PHYSICS)
    alone = replace_vector(products, jnp.asarray(1), jnp.zeros_like(products.vectors[1]), data)
    variance, first_only = jnp.asarray([0.3, 7.0]), jnp.asarray([True, False])
    with_slot = amplitudes(alone, variance, first_only, jnp.asarray(-1.0), jnp.asarray(1.0), data)
    single = all_products(products.vectors[:1], data)
    without = amplitudes(single, variance[:1], first_only[:1], jnp.asarray(-1.0), jnp.asarray(1.0), data)
    np.testing.assert_allclose(with_slot.log_evidence, without.log_evidence, rtol=1e-5)


@pytest.mark.parametrize("reference", ["received", "transmitted"])
def test_the_signal_power_is_that_of_the_simulator(reference):
    physics = apply_overrides(CONFIG, {"physics.scene.snr_reference": reference}).physics
    scene = scene_at(3, physics)
    data, sources = statistics(scene.observation, physics), scene.truth.sources
    vectors = jnp.where(sources.active[:, None], steering(physics.array, _in_front(sources)), 0)
    power = signal_power(all_products(vectors, data), sources.amplitude, data, bounds(physics.scene))
    snr_db = 10 * np.log10(power / scene.truth.noise_variance)
    np.testing.assert_allclose(snr_db, scene.truth.snr_db, atol=1e-3)


def _in_front(sources):
    """Positions, with inactive slots where a steering vector exists."""
    return jnp.where(sources.active[:, None], sources.position, jnp.asarray([0.0, 0.0, 1.0]))


ONE_SOURCE = {
    "physics.scene.num_sources": [1, 1],
    "physics.scene.max_sources": 1,
    "physics.scene.snr_db": [-8.0, 2.0],
    "physics.scene.azimuth_deg": [-25.0, 25.0],
    "physics.scene.elevation_deg": [-15.0, 15.0],
    "physics.scene.range_m": [0.5, 3.0],
    "physics.scene.snr_reference": "received",
}
"""A posterior wide enough for a grid."""


def quadrature(observation, physics, points):
    """The posterior mean and variance of q for one source, over a grid of q, gain and noise."""
    limits = bounds(physics.scene)
    data, log_scale = unit_power(statistics(observation, physics))
    axes = [np.linspace(low, high, points) for low, high in zip(limits.low, limits.high, strict=True)]
    q = jnp.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3), jnp.float32)
    gains = np.linspace(*limits.log_gain, 24) - float(log_scale)
    noises = np.linspace(-1.7, 0.5, 24)  # at -8...2 dB the noise has 39 to 86 % of the power
    pairs = jnp.asarray(list(itertools.product(gains, noises)), jnp.float32)
    normal = jax.random.normal(jax.random.key(0), (16, 2)) * np.sqrt(0.5)
    normal = normal[:, 0] + 1j * normal[:, 1]

    def log_weight(q):
        products = all_products(steering(physics.array, to_polar(q[None, :])), data)
        on = jnp.asarray([True])

        def at(pair):
            variance = amplitude_variance(q[None, :], pair[0], physics)
            law = amplitudes(products, variance, on, pair[1], jnp.asarray(1.0), data)
            power = jnp.abs(law.mean + normal / law.root[0, 0]) ** 2 * products.gram[0, 0].real / data.num_measurements
            log_snr = jnp.log(power) - pair[1]
            possible = jnp.mean((log_snr > limits.log_snr[0]) & (log_snr < limits.log_snr[1]))
            return law.log_evidence + jnp.log(possible)

        return jax.nn.logsumexp(jax.vmap(at)(pairs)) + log_density(q, limits)

    logs = np.asarray(jax.jit(lambda q: jax.lax.map(log_weight, q, batch_size=512))(q), np.float64)
    weight = np.exp(logs - logs.max())
    weight /= weight.sum()
    mean = weight @ np.asarray(q)
    return mean, weight @ (np.asarray(q) - mean) ** 2


def test_one_source_has_the_posterior_of_a_quadrature():
    physics = apply_overrides(CONFIG, ONE_SOURCE).physics
    scene = scene_at(8, physics)  # well inside the field of view, where a grid's edges cut nothing off
    mean, variance = quadrature(scene.observation, physics, 25)
    settings = LimitConfig(particles=512, moves=16, last_moves=64)
    samples = jax.jit(lambda key, seen: sample_posterior(key, seen, physics, settings))(
        jax.random.key(0), scene.observation
    )
    assert float(samples.reached) == 1
    assert bool(samples.active.all())
    position = np.asarray(samples.position[:, 0], np.float64)
    q = np.concatenate([position[:, :2], 1 / position[:, 2:]], axis=1)
    np.testing.assert_array_less(np.abs(q.mean(0) - mean), 0.2 * np.sqrt(variance))
    np.testing.assert_array_less(q.var(0), 1.4 * variance)
    np.testing.assert_array_less(variance, 1.4 * q.var(0))


def test_common_units_of_snapshots_and_channel_change_no_draw():
    """The amplitudes, whose law the sampler knows, are the same in all of them."""
    observation = scene_at(3).observation
    sample = jax.jit(lambda seen: sample_posterior(jax.random.key(0), seen, PHYSICS, SMALL))
    faint = observation._replace(
        snapshots=observation.snapshots * np.float32(2.0**-80), channel=observation.channel * np.float32(2.0**-80)
    )
    jax.tree.map(np.testing.assert_array_equal, sample(faint), sample(observation))


@pytest.mark.slow
def test_the_truth_ranks_uniformly_among_the_draws():
    """Simulation-based calibration (Talts et al. 2018): of the number of sources and of the nearest one's range."""
    run = jax.jit(
        lambda key, seen: jax.lax.map(lambda pair: sample_posterior(pair[0], pair[1], PHYSICS, SMALL), (key, seen))
    )
    scenes = jax.jit(jax.vmap(lambda key: draw_scene(key, PHYSICS)))(jax.random.split(jax.random.key(0), 200))
    samples = run(jax.random.split(jax.random.key(1), 200), scenes.observation)
    truth = scenes.truth.sources
    drawn_two = np.asarray(samples.active.sum(-1) == 2).mean(1)
    true_two = np.asarray(truth.active.sum(-1) == 2)
    assert abs((drawn_two - true_two).mean()) < 4 * np.sqrt((drawn_two * (1 - drawn_two)).mean() / 200)
    nearest = np.where(samples.active, samples.position[..., 2], np.inf).min(-1)
    true_nearest = np.where(truth.active, truth.position[..., 2], np.inf).min(-1)
    rank = (nearest < true_nearest[:, None]).mean(1)
    counts, _ = np.histogram(rank, bins=5, range=(0, 1))
    assert ((counts - 40) ** 2 / 40).sum() < 18.5  # chi^2 of 4 degrees of freedom, 0.1 %
