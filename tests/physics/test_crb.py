"""The bounds against an independent float64 finite-difference Fisher matrix, and against maximum likelihood."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ArrayConfig, ChannelConfig, CodebookConfig, PhysicsConfig, SceneConfig
from risjax.physics.array import element_positions
from risjax.physics.crb import deterministic_crb, stochastic_crb
from risjax.physics.distributions import complex_normal
from risjax.physics.measurement import forward
from risjax.physics.misspecified_crb import fit, misspecified_crb
from risjax.physics.scene import draw_scene, sources_steering
from risjax.types import Scene

SMALL = PhysicsConfig(
    array=ArrayConfig(num_horizontal=6, num_vertical=6),
    channel=ChannelConfig(num_antennas=8),
    codebook=CodebookConfig(num_snapshots=9),
    scene=SceneConfig(max_sources=3, num_sources=(2, 2), range_m=(0.5, 2.0)),
)
# float32 with a condition number of the scaled information up to 1e4
RELATIVE_FLOAT32 = 2e-3


# One compilation each for all tests
_draw = jax.jit(lambda key: draw_scene(key, SMALL))
_deterministic = jax.jit(partial(deterministic_crb, SMALL.array))
_stochastic = jax.jit(partial(stochastic_crb, SMALL.array))


def _scene(seed: int) -> Scene:
    return _draw(jax.random.key(seed))


def _reference_steering(position: np.ndarray) -> np.ndarray:
    """The spherical steering vector from coordinates in space, in float64."""
    azimuth, elevation, distance = position
    unit = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    plane = element_positions(SMALL.array)
    elements = np.concatenate([plane, np.zeros((len(plane), 1))], axis=1)
    paths = np.linalg.norm(distance * unit - elements, axis=1)
    return np.exp(2j * np.pi / SMALL.array.wavelength_m * (distance - paths)) / np.sqrt(len(plane))


def _reference_matrix(scene: Scene) -> np.ndarray:
    channel = np.asarray(scene.observation.channel, np.complex128)
    codes = np.asarray(scene.observation.codes, np.complex128)
    return np.concatenate([channel * code for code in codes])


def _jacobian(function, point: np.ndarray, step: float = 1e-6) -> np.ndarray:
    columns = []
    for index in range(point.size):
        shift = np.zeros(point.size)
        shift[index] = step * max(1.0, abs(point[index]))
        columns.append((function(point + shift) - function(point - shift)) / (2 * shift[index]))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_deterministic_bound_is_the_inverse_of_the_full_fisher_matrix(seed):
    scene = _scene(seed)
    matrix, count = _reference_matrix(scene), 2
    amplitude = np.asarray(scene.truth.sources.amplitude, np.complex128)[:count]
    position = np.asarray(scene.truth.sources.position, np.float64)[:count]
    unit = np.abs(amplitude).max()

    def mean(parameters: np.ndarray) -> np.ndarray:
        places, real, imaginary = np.split(parameters, [3 * count, 4 * count])
        weights = (real + 1j * imaginary) * unit
        value = matrix @ sum(w * _reference_steering(p) for w, p in zip(weights, places.reshape(count, 3), strict=True))
        return np.concatenate([value.real, value.imag])

    point = np.concatenate([position.ravel(), (amplitude / unit).real, (amplitude / unit).imag])
    slope = _jacobian(mean, point)
    information = 2 / float(scene.truth.noise_variance) * slope.T @ slope
    expected = np.sqrt(np.diag(np.linalg.inv(information))[: 3 * count]).reshape(count, 3)

    bound = _deterministic(scene.observation, scene.truth.sources, scene.truth.noise_variance)
    np.testing.assert_allclose(bound.std[:count], expected, rtol=RELATIVE_FLOAT32)
    assert np.isinf(bound.std[count:]).all()
    assert np.isinf(bound.position_m[count:]).all()


@pytest.mark.parametrize("seed", [0, 3])
def test_stochastic_bound_is_the_inverse_of_the_full_fisher_matrix(seed):
    scene = _scene(seed)
    count, (num_snapshots, num_antennas) = 2, scene.observation.snapshots.shape
    blocks = _reference_matrix(scene).reshape(num_snapshots, num_antennas, -1)
    power = np.abs(np.asarray(scene.truth.sources.amplitude, np.complex128)[:count]) ** 2
    position = np.asarray(scene.truth.sources.position, np.float64)[:count]
    variance = float(scene.truth.noise_variance)

    def covariances(parameters: np.ndarray) -> np.ndarray:
        places, log_power, log_variance = np.split(parameters, [3 * count, 4 * count])
        vectors = np.stack([_reference_steering(p) for p in places.reshape(count, 3)], axis=1)
        images = blocks @ (vectors * np.sqrt(power * np.exp(log_power)))
        return images @ images.conj().swapaxes(1, 2) + variance * np.exp(log_variance[0]) * np.eye(num_antennas)

    point = np.concatenate([position.ravel(), np.zeros(count + 1)])
    inverse = np.linalg.inv(covariances(point))
    slope = np.moveaxis(_jacobian(covariances, point), -1, 0)
    information = np.einsum("lab,plbc,lcd,qlda->pq", inverse, slope, inverse, slope, optimize=True).real
    expected = np.sqrt(np.diag(np.linalg.inv(information))[: 3 * count]).reshape(count, 3)

    bound = _stochastic(scene.observation, scene.truth.sources, scene.truth.noise_variance)
    np.testing.assert_allclose(bound.std[:count], expected, rtol=5 * RELATIVE_FLOAT32)


def test_position_error_of_a_source_on_boresight_is_the_error_of_its_coordinates():
    scene = _scene(0)
    position = jnp.asarray([[0.0, 0.0, 1.5], [0.4, 0.2, 1.0], [0.0, 0.0, 0.0]])
    sources = scene.truth.sources._replace(position=position)
    bound = _deterministic(scene.observation, sources, scene.truth.noise_variance)
    # On boresight the axes of (azimuth, elevation, range) are those of space, at arc lengths r dphi, r dtheta, dr.
    expected = np.sqrt((1.5 * bound.std[0, 0]) ** 2 + (1.5 * bound.std[0, 1]) ** 2 + bound.std[0, 2] ** 2)
    np.testing.assert_allclose(bound.position_m[0], expected, rtol=1e-5)


def test_sources_that_coincide_in_place_and_phase_have_a_huge_finite_bound():
    scene = _scene(0)
    sources = scene.truth.sources
    sources = sources._replace(
        position=sources.position.at[1].set(sources.position[0]),
        amplitude=sources.amplitude.at[1].set(sources.amplitude[0]),
    )
    bound = _deterministic(scene.observation, sources, scene.truth.noise_variance)
    alone = _deterministic(scene.observation, sources._replace(active=jnp.arange(3) < 1), scene.truth.noise_variance)
    assert np.isfinite(bound.std[:2]).all()
    assert (bound.std[0] > 10 * alone.std[0]).all()


@pytest.fixture(scope="module")
def doubles():
    """A scene in float64, alone on its manifold, with the clean snapshots of its spherical waves."""
    with jax.enable_x64(True):
        physics = SMALL.model_copy(update={"scene": SMALL.scene.model_copy(update={"range_m": (1.0, 2.0)})})
        scene = draw_scene(jax.random.key(2), physics, jnp.float64)
        field = sources_steering(physics, scene.truth.sources) @ scene.truth.sources.amplitude
        mean = forward(scene.observation, field)
        yield scene, mean, jnp.mean(jnp.abs(mean) ** 2) * 1e-6  # 60 dB


@pytest.mark.parametrize("wavefront", ["spherical", pytest.param("fresnel", marks=pytest.mark.slow), "paraxial"])
def test_misspecified_bound_is_where_maximum_likelihood_goes_and_how_it_scatters(doubles, wavefront):
    """400 noise draws: a standard deviation is then known to 1/sqrt(800) = 3.5 %."""
    scene, mean, variance = doubles
    array, sources = ArrayConfig(num_horizontal=6, num_vertical=6, wavefront=wavefront), scene.truth.sources
    with jax.enable_x64(True):
        bound = jax.jit(lambda: misspecified_crb(array, scene.observation, mean, sources, variance))()
        start = sources._replace(position=jnp.where(sources.active[:, None], bound.pseudo_true, 0))

        @jax.jit
        @jax.vmap
        def estimate(key):
            noise = jnp.sqrt(variance) * complex_normal(key, mean.shape, jnp.float64)
            return fit(array, scene.observation, mean + noise, start, iterations=8).position[:2]

        estimates = np.asarray(estimate(jax.random.split(jax.random.key(0), 400)))
        exact = deterministic_crb(SMALL.array, scene.observation, sources, variance)
    std = np.asarray(bound.std[:2])
    np.testing.assert_allclose(estimates.std(0), std, rtol=4 / np.sqrt(800))
    error = estimates.mean(0) - np.asarray(bound.pseudo_true[:2])
    assert (np.abs(error) < 4 * std / 20).all()
    if wavefront == "spherical":
        np.testing.assert_allclose(std, exact.std[:2], rtol=1e-5)
        np.testing.assert_allclose(bound.bias, 0, atol=1e-8)
        assert bound.residual < 1e-15
    else:
        assert bound.residual > 1e-5
        assert (np.abs(bound.bias[:2]) > 10 * std).any()
