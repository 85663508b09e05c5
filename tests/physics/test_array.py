"""The manifold: its conventions against first principles, in float64 coordinates of space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from risjax.config import ArrayConfig
from risjax.physics.array import amplitude_norm, cartesian, direction_cosines, element_positions, steering, steering_at

POSITIONS = np.array([[0.3, -0.2, 2.0], [-0.9, 0.4, 0.6], [0.0, 0.0, 0.5], [1.0, 0.5, 10.0]])
# k * 1.2 m of path in float32: 25 rad with 24 bits, and a few operations
PHASE_FLOAT32 = 2e-5


def _paths(array: ArrayConfig, position: np.ndarray) -> np.ndarray:
    """Distances from source to elements by Pythagoras in space, float64."""
    azimuth, elevation, distance = position
    unit = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    plane = element_positions(array)
    return np.linalg.norm(distance * unit - np.concatenate([plane, np.zeros((len(plane), 1))], axis=1), axis=1)


def _wave(array: ArrayConfig, path_difference: np.ndarray) -> np.ndarray:
    return np.exp(2j * np.pi / array.wavelength_m * path_difference) / np.sqrt(path_difference.size)


@pytest.mark.parametrize("wavefront", ["spherical", "fresnel", "paraxial"])
def test_steering_has_unit_norm_under_jit_and_vmap(wavefront):
    array = ArrayConfig(wavefront=wavefront, amplitude="spherical", pattern_exponent=1.5)
    vectors = jax.jit(jax.vmap(lambda p: steering(array, p)))(jnp.asarray(POSITIONS, jnp.float32))
    np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=-1), 1.0, rtol=1e-5)
    assert vectors.dtype == jnp.complex64


@pytest.mark.parametrize("wavefront", ["spherical", "fresnel", "paraxial"])
def test_direction_cosines_and_inverse_range_lead_to_the_same_vector(wavefront):
    array = ArrayConfig(wavefront=wavefront, amplitude="spherical", pattern_exponent=1.5)
    with jax.enable_x64(True):
        position = jnp.asarray(POSITIONS)
        cosines = jnp.concatenate([direction_cosines(position[:, 0], position[:, 1]), 1 / position[:, 2:]], axis=1)
        np.testing.assert_allclose(steering_at(array, cosines), steering(array, position), atol=1e-12)


@pytest.mark.parametrize("cosines", [[1.0, 0.0, 0.5], [0.9, 0.9, 0.5]])
def test_directions_in_or_behind_the_panels_plane_have_finite_vectors_and_derivatives(cosines):
    array = ArrayConfig(amplitude="spherical", pattern_exponent=1.5)
    at = jnp.asarray(cosines, jnp.float32)
    vector, slope = steering_at(array, at), jax.jacfwd(lambda x: steering_at(array, x))(at)
    assert float(jnp.linalg.norm(vector)) == pytest.approx(1.0, rel=1e-5)
    assert np.isfinite(np.asarray(slope)).all()


def test_elements_are_centred_and_horizontal_is_fastest():
    elements = element_positions(ArrayConfig(num_horizontal=3, num_vertical=2, spacing_m=0.1))
    np.testing.assert_allclose(elements.mean(0), 0.0, atol=1e-15)
    np.testing.assert_allclose(elements[1] - elements[0], [0.1, 0.0])
    np.testing.assert_allclose(elements[3] - elements[0], [0.0, 0.1])


def test_element_origin_is_the_original_pipelines_indices_minus_six_to_five():
    elements = element_positions(ArrayConfig(origin="element"))
    np.testing.assert_allclose(elements[0] / 0.15, [-6, -6])
    np.testing.assert_allclose(elements[-1] / 0.15, [5, 5])


@pytest.mark.parametrize("origin", ["centre", "element"])
@pytest.mark.parametrize("position", POSITIONS)
def test_spherical_is_the_distance_in_space_and_a_nearer_element_has_a_larger_phase(origin, position):
    array = ArrayConfig(origin=origin)
    expected = _wave(array, position[2] - _paths(array, position))
    np.testing.assert_allclose(
        steering(array, jnp.asarray(position, jnp.float32)), expected, atol=PHASE_FLOAT32 / np.sqrt(array.num_elements)
    )


def test_azimuth_is_along_the_horizontal_axis_and_elevation_along_the_vertical():
    np.testing.assert_allclose(direction_cosines(jnp.asarray(jnp.pi / 6), jnp.asarray(0.0)), [0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(direction_cosines(jnp.asarray(0.0), jnp.asarray(jnp.pi / 6)), [0.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(cartesian(jnp.array([0.0, 0.0, 2.0])), [0.0, 0.0, 2.0], atol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(cartesian(jnp.array([0.7, -0.4, 3.0]))), 3.0, rtol=1e-6)


@pytest.mark.parametrize("wavefront", ["spherical", "fresnel", "paraxial"])
def test_far_away_every_wavefront_is_the_plane_wave(wavefront):
    array = ArrayConfig(wavefront=wavefront)
    position = np.array([0.4, -0.3, 1e7])
    cosines = np.array([np.sin(0.4) * np.cos(0.3), -np.sin(0.3)])
    expected = _wave(array, element_positions(array) @ cosines)
    vector = steering(array, jnp.asarray(position, jnp.float32))
    np.testing.assert_allclose(vector, expected, atol=PHASE_FLOAT32 / 12)


@pytest.mark.parametrize("range_m", [2.0, 5.0, 10.0])
def test_fresnel_error_is_bounded_by_its_next_term(range_m):
    """d = r sqrt(1 + e), e = (|p|^2 - 2 r u.p) / r^2; the third-order terms are -u.p (|p|^2 - (u.p)^2) / 2 r^2."""
    exact, fresnel = ArrayConfig(), ArrayConfig(wavefront="fresnel")
    position = np.array([0.5, 0.2, range_m])
    plane = element_positions(exact)
    projection = plane @ np.array([np.sin(0.5) * np.cos(0.2), np.sin(0.2)])
    radius = np.linalg.norm(plane, axis=1)
    next_term = np.abs(projection) * (radius**2 - projection**2) / (2 * range_m**2)
    after = radius**4 / range_m**3  # generous: every fourth-order coefficient is at most one
    point = jnp.asarray(position, jnp.float32)
    phase = np.abs(np.angle(np.asarray(steering(exact, point)) / np.asarray(steering(fresnel, point))))
    assert (phase <= 2 * np.pi / exact.wavelength_m * (next_term + after) + 2 * PHASE_FLOAT32).all()


def test_paraxial_lacks_the_projection_in_the_second_order():
    array, fresnel = ArrayConfig(wavefront="paraxial"), ArrayConfig(wavefront="fresnel")
    point = jnp.array([0.5, 0.2, 3.0])
    projection = element_positions(array) @ np.array([np.sin(0.5) * np.cos(0.2), np.sin(0.2)])
    expected = np.exp(-2j * np.pi / array.wavelength_m * projection**2 / 6.0)
    np.testing.assert_allclose(steering(array, point) / steering(fresnel, point), expected, atol=2e-4)


def test_conjugate_codes_focus_on_the_source():
    """Reciprocity with the codebook: the code that cancels the phases of a_n adds the elements up in phase."""
    vector = np.asarray(steering(ArrayConfig(), jnp.array([0.3, -0.2, 1.0])))
    np.testing.assert_allclose(np.sum(np.exp(-1j * np.angle(vector)) * vector), np.sqrt(144), rtol=1e-5)


def test_spherical_amplitude_and_pattern_are_those_of_each_elements_own_path():
    array = ArrayConfig(amplitude="spherical", pattern_exponent=1.5)
    position = POSITIONS[1]
    paths = _paths(array, position)
    boresight = position[2] * np.cos(position[0]) * np.cos(position[1])
    amplitude = position[2] / paths * (boresight / paths) ** 1.5
    point = jnp.asarray(position, jnp.float32)
    vector = steering(array, point)
    np.testing.assert_allclose(np.abs(vector), amplitude / np.linalg.norm(amplitude), rtol=1e-5)
    np.testing.assert_allclose(amplitude_norm(array, point), np.linalg.norm(amplitude) / 12, rtol=1e-5)
    np.testing.assert_allclose(np.angle(vector), np.angle(steering(ArrayConfig(), point)), atol=1e-5)


def test_uniform_amplitude_has_norm_one():
    np.testing.assert_array_equal(amplitude_norm(ArrayConfig(), jnp.ones((4, 3))), np.ones(4))


def test_given_element_positions_replace_the_grid():
    grid = ArrayConfig(num_horizontal=2, num_vertical=2)
    given = ArrayConfig(
        num_horizontal=2, num_vertical=2, elements_m=tuple((float(h), float(v)) for h, v in element_positions(grid))
    )
    point = jnp.array([0.3, -0.2, 2.0])
    np.testing.assert_array_equal(steering(given, point), steering(grid, point))
    with pytest.raises(ValidationError, match="elements_m holds 3 elements"):
        ArrayConfig(num_horizontal=2, num_vertical=2, elements_m=((0.0, 0.0), (0.1, 0.0), (0.0, 0.1)))


def test_phase_has_full_precision_at_large_range():
    """At 10 km r - d_n by subtraction is wrong by 1e-3 m in float32, a hundredth of a turn."""
    array = ArrayConfig()
    position = np.array([0.4, -0.3, 1e4])
    expected = _wave(array, position[2] - _paths(array, position))
    np.testing.assert_allclose(steering(array, jnp.asarray(position, jnp.float32)), expected, atol=PHASE_FLOAT32 / 12)


def test_batched_positions_equal_single_ones():
    points = jnp.asarray(POSITIONS, jnp.float32)
    together = steering(ArrayConfig(wavefront="fresnel", pattern_exponent=1.0), points[None])
    single = jnp.stack([steering(ArrayConfig(wavefront="fresnel", pattern_exponent=1.0), point) for point in points])
    np.testing.assert_allclose(together[0], single, atol=1e-6)
