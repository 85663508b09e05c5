"""Peak contrast: the directions it looks at, its value, and what is not held against a spectrum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ArrayConfig, PhysicsConfig
from risjax.loss import make_peaks, peak_contrast
from risjax.loss.peak_contrast import DIRECTIONS, RINGS
from risjax.physics.array import steering
from risjax.physics.scene import label_factor, sources_steering
from risjax.spectral.grid import to_cosines, to_position
from risjax.spectral.spectrum import mvdr_spectrum
from risjax.types import Geometry, LowRankCovariance, Sources

ARRAY = ArrayConfig()
BEAM = 1 / 6
"""Wavelength 0.3 m over 12 elements of 0.15 m."""
AROUND = len(RINGS) * DIRECTIONS
peaks_of = jax.jit(make_peaks, static_argnums=0)
contrast = jax.jit(peak_contrast)


def sources(*positions, slots=3) -> Sources:
    """Sources of unit amplitude at (azimuth deg, elevation deg, range m)."""
    padded = np.zeros((slots, 3), np.float32)
    padded[: len(positions)] = np.reshape(positions, (-1, 3)) * [np.pi / 180, np.pi / 180, 1.0]
    active = np.arange(slots) < len(positions)
    return Sources(jnp.asarray(padded), jnp.asarray(active, jnp.complex64), jnp.asarray(active))


def truth(seen: Sources, loading: float = 1e-3) -> LowRankCovariance:
    factor = label_factor(sources_steering(PhysicsConfig(), seen), seen.amplitude)
    return LowRankCovariance(factor, jnp.asarray(loading))


def where(vectors: jax.Array, position) -> np.ndarray:
    """|a^H a(position)| of vectors."""
    return np.abs(np.asarray(vectors).conj() @ np.asarray(steering(ARRAY, jnp.asarray(position))))


def test_the_neighbourhood_is_two_rings_in_beams_at_the_sources_own_range():
    seen = sources((20.0, 10.0, 1.5))
    peaks = peaks_of(ARRAY, seen)
    assert peaks.source.shape == (3, 144)
    assert peaks.around.shape == (3, AROUND, 144)
    np.testing.assert_allclose(where(peaks.source[0], seen.position[0]), 1.0, rtol=1e-5)
    u, v, s = np.asarray(to_cosines(seen.position[0]))
    for index, (radius, turn) in enumerate((r, t) for r in RINGS for t in range(DIRECTIONS)):
        angle = 2 * np.pi * turn / DIRECTIONS
        v_there, u_there = v + radius * BEAM * np.sin(angle), u + radius * BEAM * np.cos(angle)
        position = [np.arcsin(u_there / np.sqrt(1 - v_there**2)), np.arcsin(v_there), 1 / s]
        np.testing.assert_allclose(where(peaks.around[0, index], np.float32(position)), 1.0, rtol=1e-4)
    # In the far field the first zero of the beam lies on the outer ring's axes, and half the field a beam's half away.
    far = peaks_of(ARRAY, sources((0.0, 0.0, 1e4)))
    level = where(far.around[0], [0.0, 0.0, 1e4])
    np.testing.assert_allclose(level[DIRECTIONS :: DIRECTIONS // 4], 0.0, atol=1e-2)
    np.testing.assert_allclose(level[: DIRECTIONS : DIRECTIONS // 4], 2 / np.pi, atol=1e-2)


def test_other_sources_beams_invisible_directions_and_empty_slots_are_left_out():
    assert np.asarray(peaks_of(ARRAY, sources((0.0, 0.0, 2.0))).counted).sum(1).tolist() == [AROUND, 0, 0]
    # a second source one beam to the right, at another range: what lies within a beam of it is its business
    beside = np.degrees(np.arcsin(BEAM))
    counted = np.asarray(peaks_of(ARRAY, sources((0.0, 0.0, 2.0), (beside, 0.0, 9.0))).counted)
    inner, outer = counted[0].reshape(2, DIRECTIONS)
    assert inner.tolist() == [False, False, True, True, True, True, True, False]
    assert outer.tolist() == [False, False, True, True, True, True, True, False]
    assert counted[1].sum() == counted[0].sum()
    assert not counted[2].any()
    far_apart = np.asarray(peaks_of(ARRAY, sources((0.0, 0.0, 2.0), (40.0, 0.0, 2.0))).counted)
    assert far_apart.sum(1).tolist() == [AROUND, AROUND, 0]
    at_the_edge = peaks_of(ARRAY, sources((80.0, 0.0, 2.0)))
    assert 0 < np.asarray(at_the_edge.counted)[0].sum() < AROUND
    assert np.isfinite(np.asarray(at_the_edge.around)).all()


def test_it_looks_through_the_receivers_own_surface():
    elements = np.random.default_rng(0).normal(size=(144, 2)).astype(np.float32)
    seen, geometry = sources((20.0, 10.0, 1.5)), Geometry(elements_m=jnp.asarray(elements))
    own = peaks_of(ARRAY, seen, geometry)
    to_the_right = to_position(to_cosines(seen.position[0]) + jnp.asarray([RINGS[0] * BEAM, 0.0, 0.0]))
    np.testing.assert_allclose(own.source[0], steering(ARRAY, seen.position[0], geometry), atol=1e-5)
    np.testing.assert_allclose(own.around[0, 0], steering(ARRAY, to_the_right, geometry), atol=1e-5)
    assert np.abs(np.asarray(own.source[0] - peaks_of(ARRAY, seen).source[0])).max() > 0.01


@pytest.mark.parametrize("margin_db", [0.0, 10.0])
def test_value(margin_db):
    seen = sources((0.0, 0.0, 2.0), (30.0, -10.0, 5.0))
    peaks, margin = peaks_of(ARRAY, seen), margin_db * np.log(10) / 10
    rng = np.random.default_rng(3)
    factor = jnp.asarray((rng.normal(size=(144, 4)) + 1j * rng.normal(size=(144, 4))).astype(np.complex64))
    covariance = LowRankCovariance(factor, jnp.asarray(0.05))
    power = [np.log(np.asarray(mvdr_spectrum(covariance, v), np.float64)) for v in (peaks.source, peaks.around)]
    found = [power[0][k] - np.log(np.mean(np.exp(power[1][k]))) for k in range(2)]
    expected = np.mean([np.log1p(np.exp(margin - c)) for c in found]) / np.log1p(np.exp(margin))
    np.testing.assert_allclose(contrast(covariance, peaks, margin_db), expected, rtol=1e-3)


def test_a_flat_spectrum_has_one_the_truth_little_and_a_miss_more_than_one():
    seen = sources((0.0, 0.0, 2.0), (30.0, -10.0, 5.0))
    peaks = peaks_of(ARRAY, seen)
    flat = LowRankCovariance(jnp.zeros((144, 3), jnp.complex64), jnp.asarray(1.0))
    assert float(contrast(flat, peaks, 10.0)) == pytest.approx(1.0, abs=1e-5)
    assert contrast(truth(seen), peaks, 10.0) < 0.05
    beside = sources((4.8, 0.0, 2.0), (34.0, -10.0, 5.0))  # half a beam to the right
    assert contrast(truth(beside), peaks, 10.0) > 1.0


def test_nothing_to_compare_with_is_no_loss():
    nobody = peaks_of(ARRAY, sources())
    value, gradient = jax.value_and_grad(
        lambda r: peak_contrast(LowRankCovariance(r + 0j, jnp.asarray(0.1)), nobody, 10.0)
    )(jnp.ones((144, 2)))
    assert float(value) == 0.0
    assert not np.asarray(gradient).any()


def test_each_source_has_a_share_of_its_own():
    """One that is found cannot pay for one that is not."""
    seen = sources((0.0, 0.0, 2.0), (30.0, -10.0, 5.0))
    peaks = peaks_of(ARRAY, seen)
    found = truth(sources((0.0, 0.0, 2.0)))
    assert contrast(found, peaks, 10.0) > 0.4
    assert contrast(found, peaks_of(ARRAY, sources((0.0, 0.0, 2.0))), 10.0) < 0.05
