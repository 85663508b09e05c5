"""Scenes: the laws they are drawn from, what is in the observation and what is not, impairments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from risjax.config import (
    PhysicsConfig,
    SceneConfig,
)
from risjax.physics.array import cartesian, steering
from risjax.physics.distributions import complex_normal
from risjax.physics.placement import NUM_CANDIDATES, place
from risjax.physics.scene import (
    label_factor,
    make_symbols,
    transmitted_power,
)
from risjax.types import Scene
from tests.physics.small import SIGNIFICANCE, SMALL, small_scenes, small_sources, small_with


def _clean(scene: Scene, physics: PhysicsConfig = SMALL) -> np.ndarray:
    """Snapshots without noise from the truth and the nominal model, in float64."""
    sources, observation = scene.truth.sources, scene.observation
    position = np.where(sources.active[..., None], sources.position, [0.0, 0.0, 1.0])
    vectors = np.asarray(steering(physics.array, jnp.asarray(position, jnp.float32)))
    fields = np.einsum("sk,skn->sn", sources.amplitude, vectors)
    return np.einsum("sln,smn->slm", observation.codes * fields[:, None], observation.channel)


def _power_of_random_codes(scenes: Scene) -> np.ndarray:
    """sum |H_mn|^2 |x_n|^2 / M of the true fields, in float64."""
    sources = scenes.truth.sources
    position = np.where(sources.active[..., None], sources.position, [0.0, 0.0, 1.0])
    fields = np.einsum("sk,skn->sn", sources.amplitude, steering(SMALL.array, jnp.asarray(position, jnp.float32)))
    return np.einsum("smn,sn->s", np.abs(scenes.observation.channel) ** 2, np.abs(fields) ** 2) / 8


def test_sources_follow_their_laws(nominal):
    sources, scene = nominal.truth.sources, SMALL.scene
    active = sources.active
    assert set(active.sum(1)) == {1, 2, 3, 4, 5}
    intervals = (np.deg2rad(scene.azimuth_deg), np.deg2rad(scene.elevation_deg), scene.range_m)
    for column, (low, high) in enumerate(intervals):
        values = sources.position[active][:, column]
        assert stats.kstest((values - low) / (high - low), "uniform").pvalue > SIGNIFICANCE
    assert stats.kstest((nominal.truth.snr_db + 5) / 25, "uniform").pvalue > SIGNIFICANCE
    assert (np.diff(active.astype(int), axis=1) <= 0).all()  # the first K slots
    assert (sources.position[~active] == 0).all()
    assert (sources.amplitude[~active] == 0).all()


@pytest.mark.parametrize("reference", ["received", "transmitted"])
def test_snapshots_are_the_clean_ones_plus_noise_at_the_stated_snr(reference):
    scenes = small_scenes(small_with(scene={"snr_reference": reference}))
    clean = _clean(scenes)
    noise = scenes.observation.snapshots - clean
    power = np.mean(np.abs(clean) ** 2, axis=(1, 2)) if reference == "received" else _power_of_random_codes(scenes)
    variance = power * 10 ** (-scenes.truth.snr_db / 10)
    np.testing.assert_allclose(scenes.truth.noise_variance, variance, rtol=1e-4)
    white = noise / np.sqrt(variance)[:, None, None]
    np.testing.assert_allclose(np.mean(np.abs(white) ** 2), 1, atol=4 / np.sqrt(white.size))
    np.testing.assert_allclose(np.mean(white**2), 0, atol=4 / np.sqrt(white.size))  # circular


def test_transmitted_power_is_the_mean_over_codes_of_uniform_phases():
    channel, field = complex_normal(jax.random.key(0), (8, 36), jnp.float32), jnp.linspace(0, 1, 36) + 0j
    codes = np.exp(2j * np.pi * np.random.default_rng(0).random((4000, 36)))
    received = np.mean(np.abs((codes * np.asarray(field)) @ np.asarray(channel).T) ** 2, axis=1)
    standard_error = np.std(received) / np.sqrt(len(codes))
    np.testing.assert_allclose(transmitted_power(channel, field), np.mean(received), atol=4 * standard_error)


def test_transmitted_snr_does_not_depend_on_the_codes():
    random = small_scenes(small_with(codebook={"kind": "random"}), 20)
    dft = small_scenes(small_with(codebook={"kind": "dft"}), 20)
    np.testing.assert_allclose(random.truth.noise_variance, dft.truth.noise_variance, rtol=1e-5)
    assert not np.allclose(random.observation.snapshots, dft.observation.snapshots, rtol=0.1)


def test_amplitudes_are_gain_path_loss_power_and_a_rayleigh_symbol():
    physics = small_with(scene={"gain_db": (20.0, 20.0), "power_db": (3.0, 3.0)})
    keys = jax.random.split(jax.random.key(0), 400)
    sources = jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: small_sources(key, physics)))(keys))
    path = 0.3 / (4 * np.pi * np.where(sources.active, sources.position[..., 2], 1))
    symbols = (sources.amplitude / path / 10 ** (23 / 20))[sources.active]
    assert stats.kstest(np.abs(symbols) ** 2, "expon").pvalue > SIGNIFICANCE
    assert stats.kstest(np.angle(symbols) / (2 * np.pi) + 0.5, "uniform").pvalue > SIGNIFICANCE


def test_unit_modulus_symbols_differ_in_phase_only():
    normal = complex_normal(jax.random.key(0), (1, 100), jnp.float32)
    symbols = make_symbols(normal, SceneConfig(modulus="unit"))
    np.testing.assert_allclose(np.abs(symbols), 1, atol=1e-6)
    assert np.std(np.angle(symbols)) > 1


def test_label_is_the_sum_of_powers_at_trace_n(nominal):
    sources, factor = nominal.truth.sources, nominal.truth.label_factor
    covariance = factor @ factor.conj().swapaxes(1, 2)
    np.testing.assert_allclose(np.trace(covariance, axis1=1, axis2=2).real, 36, rtol=1e-4)
    position = np.where(sources.active[..., None], sources.position, [0.0, 0.0, 1.0])
    vectors = np.asarray(steering(SMALL.array, jnp.asarray(position, jnp.float32)))
    power = np.abs(sources.amplitude) ** 2
    expected = np.einsum("sk,skn,skm->snm", power / power.sum(1, keepdims=True), vectors, vectors.conj()) * 36
    np.testing.assert_allclose(covariance, expected, atol=1e-4)


@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e15])
def test_label_factor_is_finite_at_any_power(scale):
    matrix = jnp.ones((36, 5), jnp.complex64) / 6
    factor = label_factor(matrix, jnp.full(5, scale, jnp.complex64))
    np.testing.assert_allclose(jnp.sum(jnp.abs(factor) ** 2), 36 if scale else 0, rtol=1e-5)


def test_the_receiver_is_given_nothing_beside_snapshots_channel_and_codes(nominal):
    """Nor do channel and codes depend on the sources or the noise: another law of both leaves them as they are."""
    assert nominal.observation._fields == ("snapshots", "channel", "codes", "geometry")
    assert nominal.observation.geometry is None
    other = small_scenes(small_with(scene={"snr_db": (60.0, 60.0), "symbols": "per_snapshot", "num_sources": (1, 1)}))
    np.testing.assert_allclose(other.observation.channel, nominal.observation.channel, atol=1e-6)
    np.testing.assert_array_equal(other.observation.codes, nominal.observation.codes)
    _check_per_snapshot(other)


def _check_per_snapshot(scenes: Scene) -> None:
    """Each snapshot has a field of its own: the nominal one times a symbol of unit mean power."""
    assert (scenes.truth.sources.amplitude.imag == 0).all()
    unit = _clean(scenes)
    symbols = np.sum(unit.conj() * scenes.observation.snapshots, -1) / np.sum(np.abs(unit) ** 2, -1)
    np.testing.assert_allclose(np.mean(np.abs(symbols) ** 2), 1, atol=4 / np.sqrt(symbols.size))
    assert (np.std(symbols, axis=1) > 0.1).all()
    np.testing.assert_allclose(symbols[:, :, None] * unit, scenes.observation.snapshots, atol=2e-2 * np.abs(unit).max())


def test_minimum_separation_holds():
    scene = SceneConfig(min_separation_deg=12.0)
    unit = jax.random.uniform(jax.random.key(0), (400, 5, NUM_CANDIDATES, 3))
    position = jax.jit(jax.vmap(lambda u: place(u, scene)))(unit)
    directions = np.asarray(cartesian(position.at[..., 2].set(1.0)))
    cosines = np.einsum("ski,sli->skl", directions, directions)[:, *np.triu_indices(5, 1)]
    assert np.rad2deg(np.arccos(np.clip(cosines, -1, 1))).min() > 12.0 - 1e-2


def test_a_separation_too_large_for_the_field_of_view_is_refused():
    with pytest.raises(ValidationError, match="is too large for max_sources"):
        SceneConfig(min_separation_deg=30.0, max_sources=5)
