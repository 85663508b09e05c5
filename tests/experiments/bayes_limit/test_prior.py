"""The prior's densities are those of what it draws, and those of the simulator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from risjax.config.io import apply_overrides
from risjax.estimators.likelihood import statistics
from risjax.experiments.bayes_limit.prior import (
    amplitude_variance,
    bounds,
    draw_coordinates,
    log_density,
    require_sampled_laws,
    to_polar,
)
from risjax.experiments.bayes_limit.proposal_density import CELLS, bright_places, draw_place, place_log_density
from risjax.experiments.bayes_limit.tempered_likelihood import unit_power
from risjax.physics.scene import draw_scene
from tests.tiny import tiny_config

PHYSICS = tiny_config().physics
LIMITS = bounds(PHYSICS.scene)


def test_places_are_drawn_as_the_simulator_draws_them():
    q = jax.vmap(lambda key: draw_coordinates(key, LIMITS))(jax.random.split(jax.random.key(0), 2000))
    sampled = np.asarray(to_polar(q))
    scenes = jax.jit(jax.vmap(lambda key: draw_scene(key, PHYSICS)))(jax.random.split(jax.random.key(1), 2000))
    simulated = np.asarray(scenes.truth.sources.position[:, 0])
    for axis in range(3):
        assert kstest(sampled[:, axis], simulated[:, axis]).pvalue > 1e-4


def test_amplitudes_have_the_simulators_variance():
    key = jax.random.split(jax.random.key(2), 4000)
    sources = jax.jit(jax.vmap(lambda key: draw_scene(key, PHYSICS)))(key).truth.sources
    q = jnp.concatenate([sources.position[:, :1, :2], 1 / sources.position[:, :1, 2:]], axis=-1)
    variance = jax.vmap(lambda q: amplitude_variance(q, jnp.zeros(()), PHYSICS))(q)
    # the gain is uniform on 0...50 dB and unknown here: compare the ratio to the other sources' law by its own median
    unit = jnp.abs(sources.amplitude[:, 0]) ** 2 / variance[:, 0]
    gain_db = 10 * jnp.log10(unit)
    low, high = PHYSICS.scene.gain_db
    assert abs(float(jnp.mean(gain_db)) - ((low + high) / 2 - 2.507)) < 1.0  # E 10 log10 |CN(0, 1)|^2 = -2.507 dB


@pytest.mark.parametrize("density", ["prior", "places"])
def test_a_density_integrates_to_one_over_the_field_of_view(density):
    scene = jax.jit(lambda key: draw_scene(key, PHYSICS))(jax.random.key(3))
    data, _ = unit_power(statistics(scene.observation, PHYSICS))
    places = bright_places(data, LIMITS, PHYSICS, None)
    low, high = np.asarray(LIMITS.low), np.asarray(LIMITS.high)
    q = low + np.random.default_rng(0).uniform(size=(40_000, 3)) * (high - low)
    logs = jax.vmap(lambda q: log_density(q, LIMITS) if density == "prior" else place_log_density(q, places, LIMITS))(
        jnp.asarray(q, jnp.float32)
    )
    values = np.exp(np.asarray(logs)) * np.prod(high - low)
    assert abs(values.mean() - 1) < 5 * values.std() / np.sqrt(len(values))


def test_places_are_drawn_from_their_density():
    scene = jax.jit(lambda key: draw_scene(key, PHYSICS))(jax.random.key(4))
    data, _ = unit_power(statistics(scene.observation, PHYSICS))
    places = bright_places(data, LIMITS, PHYSICS, None)
    q = jax.vmap(lambda key: draw_place(key, places, LIMITS))(jax.random.split(jax.random.key(5), 20_000))
    # E_g[p / g] = 1 for the prior p: importance sampling from the places
    ratio = np.exp(
        np.asarray(jax.vmap(lambda q: log_density(q, LIMITS) - place_log_density(q, places, LIMITS))(q), np.float64)
    )
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / np.sqrt(len(ratio))
    assert np.prod(CELLS) == places.passed.size


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("physics.scene.modulus", "unit"),
        ("physics.scene.power_db", [0.0, 3.0]),
        ("physics.scene.snr_db", [5.0, 5.0]),
        ("physics.scene.min_separation_deg", 4.0),
        ("physics.impairments.position_jitter", 0.1),
    ],
)
def test_other_laws_are_refused_by_name(path, value):
    changed = apply_overrides(tiny_config(), {path: value})
    with pytest.raises(ValueError, match=path.split(".")[-1 if "scene" in path else 1]):
        require_sampled_laws(changed.physics)


def test_the_profiles_are_sampled():
    require_sampled_laws(PHYSICS)
