"""The bounds against an independent float64 finite-difference Fisher matrix, and against maximum likelihood."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ArrayConfig, ChannelConfig, CodebookConfig, PhysicsConfig, SceneConfig
from risjax.physics.array import element_positions
from risjax.physics.crb import crb_in_float64, deterministic_crb, stochastic_crb
from risjax.physics.scene import draw_scene
from risjax.types import Observation, Scene, Sources

SMALL = PhysicsConfig(
    array=ArrayConfig(num_horizontal=6, num_vertical=6),
    channel=ChannelConfig(num_antennas=8),
    codebook=CodebookConfig(kind="dft", num_snapshots=9),
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


def _reference_std(scene: Scene, sources: Sources, num_sources: int) -> np.ndarray:
    """Deterministic bounds [K, 3] in float64, from the QR factorisation of a finite-difference Jacobian."""
    matrix = _reference_matrix(scene)
    position = np.asarray(sources.position, np.float64)[:num_sources]
    amplitude = np.asarray(sources.amplitude, np.complex128)[:num_sources]
    slopes = [matrix @ _jacobian(_reference_steering, p, 1e-5) * a for p, a in zip(position, amplitude, strict=True)]
    images = matrix @ np.stack([_reference_steering(p) for p in position], axis=1)
    columns = np.concatenate([*slopes, images, 1j * images], axis=1)
    jacobian = np.concatenate([columns.real, columns.imag]) * np.sqrt(2 / float(scene.truth.noise_variance))
    scale = np.linalg.norm(jacobian, axis=0)
    inverse = np.linalg.inv(np.linalg.qr(jacobian / scale, mode="r"))
    return (np.linalg.norm(inverse, axis=1) / scale)[: 3 * num_sources].reshape(num_sources, 3)


def _pair(scene: Scene, separation_deg: float) -> Sources:
    """Two sources of equal amplitude at that distance in azimuth, and a third one 0.5 rad away."""
    sources = scene.truth.sources
    place = np.asarray(sources.position[0])
    shift = np.array([[0, 0, 0], [np.radians(separation_deg), 0, 0], [0.5, 0.1, 0.3]], np.float32)
    amplitude = jnp.full(3, sources.amplitude[0])
    return Sources(jnp.asarray(place[None] + shift), amplitude, jnp.ones(3, bool))


@pytest.mark.parametrize("separation_deg", [3.0, 0.3, 0.03])
def test_bounds_of_close_sources_are_right_in_a_float32_program(separation_deg: float) -> None:
    """Central differences with a step of 1e-5 are good to 1e-4 of the nearly singular Jacobian at 0.03 degrees."""
    scene = _scene(0)
    sources = _pair(scene, separation_deg)
    bound = _deterministic(scene.observation, sources, scene.truth.noise_variance)
    assert bound.std.dtype == jnp.float32
    np.testing.assert_allclose(bound.std, _reference_std(scene, sources, 3), rtol=0.01)


@pytest.mark.parametrize("compute", [_deterministic, _stochastic])
def test_sources_in_the_same_place_have_infinite_bounds_and_leave_the_others_alone(compute) -> None:
    scene = _scene(0)
    sources = _pair(scene, 0.0)
    bound = compute(scene.observation, sources, scene.truth.noise_variance)
    assert np.isinf(bound.std[:2]).all()
    assert np.isinf(bound.position_m[:2]).all()
    assert np.isfinite(bound.covariance).all()
    power = sources.amplitude.at[0].multiply(np.sqrt(2.0))
    merged = sources._replace(amplitude=power, active=jnp.asarray([True, False, True]))
    alone = compute(scene.observation, merged, scene.truth.noise_variance)
    np.testing.assert_allclose(bound.std[2], alone.std[2], rtol=1e-5)


@pytest.mark.parametrize("compute", [_deterministic, _stochastic])
def test_a_source_without_power_has_an_infinite_bound(compute) -> None:
    scene = _scene(0)
    sources = scene.truth.sources._replace(amplitude=scene.truth.sources.amplitude.at[0].set(0))
    bound = compute(scene.observation, sources, scene.truth.noise_variance)
    assert np.isinf(bound.std[0]).all()
    assert np.isfinite(bound.std[1]).all()


@pytest.mark.parametrize("compute", [deterministic_crb, stochastic_crb])
def test_bounds_with_fewer_equations_than_parameters_are_infinite(compute) -> None:
    observation = Observation(jnp.zeros((1, 1)), jnp.ones((1, 36), jnp.complex64), jnp.ones((1, 36), jnp.complex64))
    sources = Sources(jnp.asarray([[0.3, 0.1, 1.0]]), jnp.ones(1, jnp.complex64), jnp.ones(1, bool))
    bound = compute(SMALL.array, observation, sources, 0.1)
    assert np.isinf(bound.std).all()


@pytest.mark.parametrize("compute", [deterministic_crb, stochastic_crb])
def test_a_negative_noise_variance_gives_nan_in_a_program_and_an_error_on_the_host(compute) -> None:
    scene = _scene(0)
    bound = compute(SMALL.array, scene.observation, scene.truth.sources, -20.0)
    assert np.isnan(bound.std[:2]).all()
    observation, sources = jax.tree.map(lambda leaf: leaf[None], (scene.observation, scene.truth.sources))
    for invalid in (-20.0, np.nan):
        with pytest.raises(ValueError, match=r"noise_variance of scene 0 is .*, expected a finite value >= 0"):
            crb_in_float64(compute, SMALL.array, observation, sources, np.asarray([invalid]))


@pytest.mark.parametrize("compute", [deterministic_crb, stochastic_crb])
def test_the_host_evaluates_a_batch_in_float64(compute) -> None:
    scenes = [_scene(seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *scenes)
    bound = crb_in_float64(
        compute, SMALL.array, stacked.observation, stacked.truth.sources, stacked.truth.noise_variance
    )
    assert bound.std.dtype == np.float64
    for index, scene in enumerate(scenes):
        alone = compute(SMALL.array, scene.observation, scene.truth.sources, scene.truth.noise_variance)
        np.testing.assert_allclose(bound.std[index], alone.std, rtol=1e-6)


def _sum_log_std(compute, observation: Observation, sources: Sources, noise_variance) -> jax.Array:
    std = compute(SMALL.array, observation, sources, noise_variance).std
    return jnp.sum(jnp.log(jnp.where(jnp.isfinite(std), std, 1)))


_slope = jax.jit(jax.grad(_sum_log_std, argnums=(1, 2, 3), allow_int=True), static_argnums=0)


@pytest.mark.parametrize("compute", [deterministic_crb, stochastic_crb])
@pytest.mark.parametrize("case", ["empty slot", "no power", "same place", "0.03 degrees"])
def test_gradients_are_finite_for_degenerate_scenes(compute, case: str) -> None:
    scene = _scene(0)
    cases = {
        "empty slot": scene.truth.sources,
        "no power": scene.truth.sources._replace(amplitude=jnp.zeros(3, jnp.complex64)),
        "same place": _pair(scene, 0.0),
        "0.03 degrees": _pair(scene, 0.03),
    }
    observation, sources, _ = _slope(compute, scene.observation, cases[case], scene.truth.noise_variance)
    for leaf in (observation.channel, observation.codes, sources.position, sources.amplitude):
        assert np.isfinite(leaf).all()
    assert np.abs(observation.channel).max() == 0 if case == "no power" else np.abs(observation.channel).max() > 0


@pytest.mark.parametrize("compute", [deterministic_crb, stochastic_crb])
def test_gradients_agree_with_differences(compute) -> None:
    """Float64, in a random direction of channel, codes and positions, with one slot empty."""
    scene = _scene(0)
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        to_double = {"f": np.float64, "c": np.complex128, "b": bool}
        observation, sources, variance = jax.tree.map(
            lambda leaf: jnp.asarray(np.asarray(leaf), to_double[leaf.dtype.kind]),
            (scene.observation, scene.truth.sources, scene.truth.noise_variance),
        )
        point = (observation.channel, observation.codes, sources.position)
        direction = [generator.normal(size=leaf.shape).astype(leaf.dtype) for leaf in point]
        direction[2] *= np.asarray(sources.active)[:, None]

        def value(channel, codes, position):
            moved = observation._replace(channel=channel, codes=codes)
            return _sum_log_std(compute, moved, sources._replace(position=position), variance)

        value = jax.jit(value)
        slope = jax.grad(value, argnums=(0, 1, 2))(*point)
        expected = sum(float(jnp.sum(g * d).real) for g, d in zip(slope, direction, strict=True))
        step = 1e-6
        forth, back = ([p + sign * step * d for p, d in zip(point, direction, strict=True)] for sign in (1, -1))
        difference = float(value(*forth) - value(*back)) / (2 * step)
    np.testing.assert_allclose(expected, difference, rtol=1e-5)
