"""Impairments: their sizes, the laws of their strengths, and what the receiver knows of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from risjax.config import (
    ImpairmentsConfig,
    PhysicsConfig,
)
from risjax.physics.array import element_positions, steering
from risjax.physics.codebook import codes
from risjax.physics.impairments import coupling, draw_clutter, draw_geometry, estimate_channel, impair_codes
from risjax.physics.scene import (
    draw_scene,
    sources_steering,
)
from tests.physics.small import SIGNIFICANCE, SMALL, small_scenes, small_sources, small_with


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
    physics = small_with(impairments=setting)
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
    physics = small_with(impairments={"wavelength_error": 0.05}, scene={"num_sources": (5, 5)})
    geometry, _ = draw_geometry(jax.random.key(0), physics)
    assert geometry is not None
    assert geometry.wavelength_m is not None
    sources = small_sources(jax.random.key(1), physics)
    real = physics.array.model_copy(update={"wavelength_m": float(geometry.wavelength_m)})
    expected = steering(real, sources.position).T
    np.testing.assert_allclose(sources_steering(physics, sources, geometry), expected, atol=1e-5)


def test_channel_error_and_clutter_have_the_stated_power():
    impairments: dict[str, Any] = {"channel_error_db": -20.0, "clutter_db": -10.0}
    channel = jnp.ones((20, 36), jnp.complex64)
    estimate = estimate_channel(jax.random.key(0), ImpairmentsConfig(**impairments), channel)
    np.testing.assert_allclose(np.mean(np.abs(estimate - channel) ** 2), 0.01, rtol=0.2)
    draw = jax.jit(jax.vmap(lambda key: draw_clutter(key, small_with(impairments=impairments), jnp.asarray(2.0))))
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
    fixed = small_scenes(small_with(impairments={name: low_high[1] for name, low_high in EVERY_STRENGTH.items()}), 20)
    point = small_scenes(small_with(impairments={name: (high, high) for name, (_, high) in EVERY_STRENGTH.items()}), 20)
    for actual, expected in zip(jax.tree.leaves(fixed), jax.tree.leaves(point), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * (np.abs(actual).max() or 1))


def _measured_strengths(key: jax.Array) -> dict[str, jax.Array]:
    """Strength of each impairment in the scene of a key: its draws divided by those of a known strength."""
    drawn, known = (
        small_with(impairments=dict(strengths)).model_copy(update={"codebook": SMALL.codebook})
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
        program = jax.make_jaxpr(lambda key: draw_scene(key, small_with(impairments=impairments)))(jax.random.key(0))
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
    impaired = small_scenes(small_with(impairments=everything))
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
