"""Scenes: the laws they are drawn from, what is in the observation and what is not, impairments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from risjax.config import (
    ArrayConfig,
    ChannelConfig,
    CodebookConfig,
    ImpairmentsConfig,
    PhysicsConfig,
    SceneConfig,
)
from risjax.physics.array import cartesian, steering
from risjax.physics.scene import draw_scene, label_factor
from risjax.types import Scene

SMALL = PhysicsConfig(
    array=ArrayConfig(num_horizontal=6, num_vertical=6),
    channel=ChannelConfig(num_antennas=8),
    codebook=CodebookConfig(num_snapshots=9),
)
# Kolmogorov-Smirnov p-values below this fail; with fixed seeds a pass stays a pass
SIGNIFICANCE = 1e-3


def _scenes(physics: PhysicsConfig, count: int = 400) -> Scene:
    keys = jax.random.split(jax.random.key(0), count)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: draw_scene(key, physics)))(keys))


def _with(**sections: dict) -> PhysicsConfig:
    return PhysicsConfig.model_validate(
        SMALL.model_dump() | {name: getattr(SMALL, name).model_dump() | values for name, values in sections.items()}
    )


def _clean(scene: Scene, physics: PhysicsConfig = SMALL) -> np.ndarray:
    """Snapshots without noise from the truth and the nominal model, in float64."""
    sources, observation = scene.truth.sources, scene.observation
    position = np.where(sources.active[..., None], sources.position, [0.0, 0.0, 1.0])
    vectors = np.asarray(steering(physics.array, jnp.asarray(position, jnp.float32)))
    fields = np.einsum("sk,skn->sn", sources.amplitude, vectors)
    return np.einsum("sln,smn->slm", observation.codes * fields[:, None], observation.channel)


@pytest.fixture(scope="module")
def nominal() -> Scene:
    return _scenes(SMALL)


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


def test_snapshots_are_the_clean_ones_plus_noise_at_the_stated_snr(nominal):
    clean = _clean(nominal)
    noise = nominal.observation.snapshots - clean
    variance = np.mean(np.abs(clean) ** 2, axis=(1, 2)) * 10 ** (-nominal.truth.snr_db / 10)
    np.testing.assert_allclose(nominal.truth.noise_variance, variance, rtol=1e-4)
    white = noise / np.sqrt(variance)[:, None, None]
    np.testing.assert_allclose(np.mean(np.abs(white) ** 2), 1, atol=4 / np.sqrt(white.size))
    np.testing.assert_allclose(np.mean(white**2), 0, atol=4 / np.sqrt(white.size))  # circular


def test_amplitudes_are_gain_path_loss_and_a_rayleigh_symbol():
    scenes = _scenes(_with(scene={"gain_db": (20.0, 20.0)}))
    sources = scenes.truth.sources
    path = 0.3 / (4 * np.pi * np.where(sources.active, sources.position[..., 2], 1))
    symbols = (sources.amplitude / path / 10)[sources.active]
    assert stats.kstest(np.abs(symbols) ** 2, "expon").pvalue > SIGNIFICANCE
    assert stats.kstest(np.angle(symbols) / (2 * np.pi) + 0.5, "uniform").pvalue > SIGNIFICANCE


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


def test_observation_depends_on_the_truth_through_the_snapshots_only():
    """Same key, other SNR law: channel and codes, all else the receiver is given, are bit for bit the same."""
    other = _with(scene={"snr_db": (30.0, 30.0), "num_sources": (1, 1), "gain_db": (3.0, 3.0)})
    first, second = (draw_scene(jax.random.key(5), physics).observation for physics in (SMALL, other))
    np.testing.assert_array_equal(first.channel, second.channel)
    np.testing.assert_array_equal(first.codes, second.codes)
    assert set(first._fields) == {"snapshots", "channel", "codes"}


def test_minimum_separation_holds():
    scenes = _scenes(_with(scene={"min_separation_deg": 12.0, "num_sources": (5, 5)}))
    position = scenes.truth.sources.position.copy()
    position[..., 2] = 1
    directions = np.asarray(cartesian(jnp.asarray(position)))
    cosines = np.einsum("ski,sli->skl", directions, directions)[:, *np.triu_indices(5, 1)]
    assert np.rad2deg(np.arccos(np.clip(cosines, -1, 1))).min() > 12.0 - 1e-2


def test_separation_that_leaves_no_room_is_refused():
    with pytest.raises(ValidationError, match="leaves no room"):
        SceneConfig(min_separation_deg=30.0, max_sources=5)


def test_per_snapshot_symbols_make_a_field_of_their_own_in_each_snapshot():
    physics = _with(scene={"symbols": "per_snapshot", "num_sources": (1, 1), "snr_db": (60.0, 60.0)})
    scenes = _scenes(physics)
    amplitude = scenes.truth.sources.amplitude
    assert (amplitude.imag == 0).all()
    unit = _clean(scenes)
    symbols = np.sum(unit.conj() * scenes.observation.snapshots, -1) / np.sum(np.abs(unit) ** 2, -1)
    np.testing.assert_allclose(np.mean(np.abs(symbols) ** 2), 1, atol=4 / np.sqrt(symbols.size))
    spread = np.std(symbols, axis=1)
    assert (spread > 0.1).all()


@pytest.mark.parametrize(
    ("name", "setting", "changes_codes"),
    [
        ("phase_error", {"phase_error_deg": 20.0}, True),
        ("amplitude_error", {"amplitude_error_db": 2.0}, True),
        ("dead_elements", {"dead_elements": 0.2}, True),
        ("coupling", {"coupling_min_amplitude": 0.4}, True),
        ("jitter", {"position_jitter": 0.1}, False),
        ("wavelength", {"wavelength_error": 0.02}, False),
        ("spacing", {"spacing_error": 0.02}, False),
        ("channel", {"channel_error_db": -20.0}, False),
        ("clutter", {"clutter_db": -10.0}, False),
    ],
)
def test_an_impairment_breaks_the_nominal_model_unless_known(name, setting, changes_codes):
    quiet = {"snr_db": (80.0, 80.0)}

    def mismatch(impairments: dict) -> float:
        scenes = _scenes(_with(scene=quiet, impairments=impairments), 20)
        clean = _clean(scenes)
        error = scenes.observation.snapshots - clean
        return float(np.median(np.sum(np.abs(error) ** 2, (1, 2)) / np.sum(np.abs(clean) ** 2, (1, 2))))

    assert mismatch(setting) > 1e-4
    if changes_codes:
        assert mismatch(setting | {"known": (name,)}) < 1e-6


def test_impairments_leave_sources_channel_and_noise_as_they_were(nominal):
    impaired = _scenes(_with(impairments={"position_jitter": 0.05, "dead_elements": 0.1}))
    np.testing.assert_array_equal(impaired.truth.sources.position, nominal.truth.sources.position)
    np.testing.assert_array_equal(impaired.observation.channel, nominal.observation.channel)


def test_label_follows_the_real_surface():
    scenes = _scenes(_with(impairments={"position_jitter": 0.05}), 50)
    nominal = _scenes(SMALL, 50)
    first, second = (
        s.truth.label_factor[:, :, 0] / np.linalg.norm(s.truth.label_factor[:, :, 0], axis=1)[:, None]
        for s in (scenes, nominal)
    )
    overlap = np.abs(np.einsum("sn,sn->s", first.conj(), second)) ** 2
    assert (overlap < 1 - 1e-4).all()
    assert (overlap > 0.9).all()


def test_coupling_spans_its_range():
    impairments = ImpairmentsConfig(coupling_min_amplitude=0.4, known=("coupling",))
    physics = SMALL.model_copy(
        update={"impairments": impairments, "codebook": CodebookConfig(num_snapshots=9, kind="random", phase_bits=None)}
    )
    modulus = np.abs(draw_scene(jax.random.key(0), physics).observation.codes)
    np.testing.assert_allclose([modulus.min(), modulus.max()], [0.4, 1.0], atol=0.01)
