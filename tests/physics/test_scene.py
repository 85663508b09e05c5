"""Scenes: the laws they are drawn from, what is in the observation and what is not, impairments."""

from typing import Any

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
from risjax.physics.array import cartesian, element_positions, steering
from risjax.physics.codebook import codes
from risjax.physics.distributions import complex_normal
from risjax.physics.impairments import coupling, draw_clutter, draw_geometry, estimate_channel, impair_codes
from risjax.physics.placement import NUM_CANDIDATES, place
from risjax.physics.scene import (
    draw_numbers,
    draw_scene,
    label_factor,
    make_sources,
    make_symbols,
    sources_steering,
    transmitted_power,
)
from risjax.types import Scene, Sources

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


def _sources(key: jax.Array, physics: PhysicsConfig) -> Sources:
    uniform, normal = jax.random.split(key)
    return make_sources(draw_numbers(uniform, normal, physics), physics)


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


def _power_of_random_codes(scenes: Scene) -> np.ndarray:
    """sum |H_mn|^2 |x_n|^2 / M of the true fields, in float64."""
    sources = scenes.truth.sources
    position = np.where(sources.active[..., None], sources.position, [0.0, 0.0, 1.0])
    fields = np.einsum("sk,skn->sn", sources.amplitude, steering(SMALL.array, jnp.asarray(position, jnp.float32)))
    return np.einsum("smn,sn->s", np.abs(scenes.observation.channel) ** 2, np.abs(fields) ** 2) / 8


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


@pytest.mark.parametrize("reference", ["received", "transmitted"])
def test_snapshots_are_the_clean_ones_plus_noise_at_the_stated_snr(reference):
    scenes = _scenes(_with(scene={"snr_reference": reference}))
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
    random = _scenes(_with(codebook={"kind": "random"}), 20)
    dft = _scenes(_with(codebook={"kind": "dft"}), 20)
    np.testing.assert_allclose(random.truth.noise_variance, dft.truth.noise_variance, rtol=1e-5)
    assert not np.allclose(random.observation.snapshots, dft.observation.snapshots, rtol=0.1)


def test_amplitudes_are_gain_path_loss_power_and_a_rayleigh_symbol():
    physics = _with(scene={"gain_db": (20.0, 20.0), "power_db": (3.0, 3.0)})
    keys = jax.random.split(jax.random.key(0), 400)
    sources = jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: _sources(key, physics)))(keys))
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
    other = _scenes(_with(scene={"snr_db": (60.0, 60.0), "symbols": "per_snapshot", "num_sources": (1, 1)}))
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


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("phase_error", {"phase_error_deg": 20.0}),
        ("amplitude_error", {"amplitude_error_db": 2.0}),
        ("dead_elements", {"dead_elements": 0.2}),
        ("coupling", {"coupling_min_amplitude": 0.4}),
    ],
)
def test_the_receiver_assumes_nominal_codes_unless_they_are_calibrated(name, setting):
    nominal = jnp.asarray(codes(SMALL.codebook, SMALL.array), jnp.complex64)
    applied, believed = impair_codes(jax.random.key(0), ImpairmentsConfig(**setting), nominal)
    np.testing.assert_array_equal(believed, nominal)
    assert np.linalg.norm(applied - nominal) > 0.1 * np.linalg.norm(nominal)
    again, known = impair_codes(jax.random.key(0), ImpairmentsConfig(**setting, known=(name,)), nominal)
    np.testing.assert_array_equal(again, applied)
    np.testing.assert_array_equal(known, applied)


def test_size_of_the_codes_errors():
    nominal = jnp.ones((1, 4000), jnp.complex64)
    impairments = ImpairmentsConfig(phase_error_deg=20.0, amplitude_error_db=2.0, dead_elements=0.2)
    applied = np.asarray(impair_codes(jax.random.key(0), impairments, nominal)[0])[0]
    alive = applied[applied != 0]
    np.testing.assert_allclose(len(alive) / 4000, 0.8, atol=4 * 0.4 / np.sqrt(4000))
    np.testing.assert_allclose(np.rad2deg(np.angle(alive)).std(), 20, rtol=0.05)
    np.testing.assert_allclose((20 * np.log10(np.abs(alive))).std(), 2, rtol=0.05)


def test_coupling_is_the_published_curve():
    phase = np.linspace(-np.pi, np.pi, 721)
    amplitude = np.asarray(coupling(jnp.exp(1j * jnp.asarray(phase, jnp.float32))[None], 0.2))[0]
    np.testing.assert_allclose([amplitude.min(), amplitude.max()], [0.2, 1.0], atol=1e-3)
    np.testing.assert_allclose(phase[amplitude.argmax()], 0.43 * np.pi + np.pi / 2, atol=0.01)


@pytest.mark.parametrize(
    ("setting", "shift"),
    [({"position_jitter": 0.1}, 0.1 / np.sqrt(3)), ({"spacing_error": 0.05}, None), ({"wavelength_error": 0.05}, None)],
)
def test_size_of_the_geometrys_errors(setting, shift):
    physics = _with(impairments=setting)
    geometry, believed = draw_geometry(jax.random.key(0), physics)
    assert geometry is not None
    assert believed is None
    nominal = element_positions(physics.array)
    if "wavelength_error" in setting:
        assert geometry.elements_m is None
        assert geometry.wavelength_m is not None
        assert 1e-4 < abs(geometry.wavelength_m / 0.3 - 1) < 0.05
        return
    assert geometry.wavelength_m is None
    elements = np.asarray(geometry.elements_m)
    if shift is not None:
        np.testing.assert_allclose(np.std(elements - nominal) / 0.15, shift, rtol=0.2)
        assert np.abs(elements - nominal).max() <= 0.1 * 0.15
    else:  # an error of scale: a uniform stretch within its limits
        stretch = elements[:, 0] / nominal[:, 0]
        np.testing.assert_allclose(stretch, stretch[0], rtol=1e-5)
        assert 1e-4 < abs(stretch[0] - 1) < 0.05


def test_a_wavelength_error_is_a_wave_of_that_wavelength():
    physics = _with(impairments={"wavelength_error": 0.05}, scene={"num_sources": (5, 5)})
    geometry, _ = draw_geometry(jax.random.key(0), physics)
    assert geometry is not None
    assert geometry.wavelength_m is not None
    sources = _sources(jax.random.key(1), physics)
    real = physics.array.model_copy(update={"wavelength_m": float(geometry.wavelength_m)})
    expected = steering(real, sources.position).T
    np.testing.assert_allclose(sources_steering(physics, sources, geometry), expected, atol=1e-5)


def test_channel_error_and_clutter_have_the_stated_power():
    impairments: dict[str, Any] = {"channel_error_db": -20.0, "clutter_db": -10.0}
    channel = jnp.ones((20, 36), jnp.complex64)
    estimate = estimate_channel(jax.random.key(0), ImpairmentsConfig(**impairments), channel)
    np.testing.assert_allclose(np.mean(np.abs(estimate - channel) ** 2), 0.01, rtol=0.2)
    draw = jax.jit(jax.vmap(lambda key: draw_clutter(key, _with(impairments=impairments), jnp.asarray(2.0))))
    clutter = draw(jax.random.split(jax.random.key(0), 200))
    np.testing.assert_allclose(np.mean(np.abs(clutter) ** 2), 0.2, rtol=0.3)


EVERY_STRENGTH = {
    "position_jitter": (0.0, 0.2),
    "spacing_error": (0.0, 0.02),
    "wavelength_error": (0.0, 0.02),
    "phase_error_deg": (0.0, 30.0),
    "amplitude_error_db": (0.0, 3.0),
    "dead_elements": (0.0, 0.3),
    "coupling_min_amplitude": (0.2, 1.0),
    "channel_error_db": (-40.0, -10.0),
    "clutter_db": (-40.0, -10.0),
}


def test_every_strength_may_be_an_interval():
    assert set(EVERY_STRENGTH) == set(ImpairmentsConfig().strengths)


def test_an_interval_of_one_point_is_that_strength():
    """Each scene's strength scales the draws that it would have at any other."""
    fixed = _scenes(_with(impairments={name: low_high[1] for name, low_high in EVERY_STRENGTH.items()}), 20)
    point = _scenes(_with(impairments={name: (high, high) for name, (_, high) in EVERY_STRENGTH.items()}), 20)
    for actual, expected in zip(jax.tree.leaves(fixed), jax.tree.leaves(point), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * (np.abs(actual).max() or 1))


def _measured_strengths(key: jax.Array) -> dict[str, jax.Array]:
    """Strength of each impairment in the scene of a key: its draws divided by those of a known strength."""
    drawn, known = (
        _with(impairments=dict(strengths)).model_copy(update={"codebook": SMALL.codebook})
        for strengths in (EVERY_STRENGTH, {name: (low + high) / 2 for name, (low, high) in EVERY_STRENGTH.items()})
    )
    ones, channel = jnp.ones((1, 3000), jnp.complex64), jnp.ones((8, 36), jnp.complex64)

    def each(physics: PhysicsConfig) -> dict[str, jax.Array]:
        def codes_of(name: str) -> jax.Array:
            alone = ImpairmentsConfig(**{name: getattr(physics.impairments, name)})
            return impair_codes(key, alone, ones)[0][0]

        def surface_of(name: str) -> Any:
            alone = ImpairmentsConfig(**{name: getattr(physics.impairments, name)})
            return draw_geometry(key, physics.model_copy(update={"impairments": alone}))[0]

        nominal = jnp.asarray(element_positions(physics.array), jnp.float32)
        error = estimate_channel(key, physics.impairments, channel) - channel
        return {
            "position_jitter": (surface_of("position_jitter").elements_m - nominal)[0, 0],
            "spacing_error": surface_of("spacing_error").elements_m[0, 0] / nominal[0, 0] - 1,
            "wavelength_error": surface_of("wavelength_error").wavelength_m / 0.3 - 1,
            "phase_error_deg": jnp.std(jnp.angle(codes_of("phase_error_deg"))),
            "amplitude_error_db": jnp.std(jnp.log(jnp.abs(codes_of("amplitude_error_db")))),
            "dead_elements": jnp.mean(codes_of("dead_elements") == 0),
            "coupling_min_amplitude": 1 - jnp.abs(codes_of("coupling_min_amplitude")[0]),
            "channel_error_db": jnp.abs(error[0, 0]),
            "clutter_db": jnp.abs(draw_clutter(key, physics, jnp.asarray(1.0))[0]),
        }

    found, reference = each(drawn), each(known)
    strengths = {}
    for name, (low, high) in EVERY_STRENGTH.items():
        ratio, middle = found[name] / reference[name], (low + high) / 2
        if name.endswith("_db") and low < 0:
            strengths[name] = middle + 20 * jnp.log10(ratio)
        else:  # proportional to the strength, or to what it takes from 1
            strengths[name] = 1 - ratio * (1 - middle) if name == "coupling_min_amplitude" else ratio * middle
    return strengths


def test_every_strength_is_uniform_and_independent_in_every_scene():
    strengths = jax.jit(jax.vmap(_measured_strengths))(jax.random.split(jax.random.key(0), 400))
    for name, (low, high) in EVERY_STRENGTH.items():
        unit = (np.asarray(strengths[name]) - low) / (high - low)
        assert stats.kstest(unit, "uniform").pvalue > SIGNIFICANCE, name
    correlation = np.asarray(stats.spearmanr(np.stack(list(strengths.values()), axis=1))[0])
    assert np.abs(correlation - np.eye(len(correlation))).max() < 4 / np.sqrt(400)


def test_fixed_and_absent_strengths_draw_no_strength(nominal):
    def draws(impairments: dict) -> int:
        program = jax.make_jaxpr(lambda key: draw_scene(key, _with(impairments=impairments)))(jax.random.key(0))
        return str(program).count("random_bits")

    fixed = draws({"position_jitter": 0.1})
    assert draws({}) == fixed - 1
    assert draws({"position_jitter": (0.0, 0.1)}) == fixed + 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"phase_error_deg": (20.0, 0.0)}, "phase_error_deg must be .* low <= high"),
        ({"position_jitter": (0.0, 0.5)}, "less than 0.5"),
        ({"coupling_min_amplitude": (0.0, 1.0)}, "greater than 0"),
        ({"dead_elements": (0.0, 1.0, 2.0)}, "at most 2 items"),
        ({"clutter_db": "loud"}, "valid number"),
    ],
)
def test_a_wrong_strength_is_refused(setting, message):
    with pytest.raises(ValidationError, match=message):
        ImpairmentsConfig(**setting)


def test_a_scene_with_every_impairment_has_the_same_sources_noise_and_observation_types(nominal):
    everything = {
        "position_jitter": 0.05,
        "spacing_error": 0.01,
        "wavelength_error": 0.01,
        "phase_error_deg": 10.0,
        "amplitude_error_db": 1.0,
        "dead_elements": 0.1,
        "coupling_min_amplitude": 0.5,
        "channel_error_db": -20.0,
        "clutter_db": -15.0,
    }
    impaired = _scenes(_with(impairments=everything))
    np.testing.assert_allclose(impaired.truth.sources.position, nominal.truth.sources.position, rtol=1e-5)
    np.testing.assert_array_equal(impaired.observation.codes, nominal.observation.codes)
    assert impaired.observation.geometry is None
    error = np.linalg.norm(impaired.observation.channel - nominal.observation.channel, axis=(1, 2))
    np.testing.assert_allclose(
        np.median(error / np.linalg.norm(nominal.observation.channel, axis=(1, 2))), 0.1, rtol=0.1
    )
    np.testing.assert_allclose(np.sum(np.abs(impaired.truth.label_factor) ** 2, axis=(1, 2)), 36, rtol=1e-4)
    strongest = [
        s.truth.label_factor[:, :, 0] / np.linalg.norm(s.truth.label_factor[:, :, 0], axis=1)[:, None]
        for s in (impaired, nominal)
    ]
    overlap = np.abs(np.einsum("sn,sn->s", strongest[0].conj(), strongest[1])) ** 2
    assert 0.9 < np.median(overlap) < 1 - 1e-4  # the label is the real surface's
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(impaired))
