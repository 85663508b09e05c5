"""Estimates of the field from the snapshots, against the explicit measurement matrix in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ArrayConfig, ChannelConfig, CodebookConfig, PhysicsConfig, SceneConfig
from risjax.physics import measurement
from risjax.physics.images import regularised_images
from risjax.physics.scene import draw_scene
from risjax.types import Observation, Scene

PHYSICS = PhysicsConfig(
    array=ArrayConfig(num_horizontal=6, num_vertical=6),
    channel=ChannelConfig(num_antennas=8),
    codebook=CodebookConfig(num_snapshots=9),
)
RELATIVE_FLOAT32 = 1e-4


@pytest.fixture(scope="module")
def scenes() -> Scene:
    keys = jax.random.split(jax.random.key(1), 200)
    return jax.jit(jax.vmap(lambda key: draw_scene(key, PHYSICS)))(keys)


def _one(scenes: Scene, index: int) -> tuple[Observation, np.ndarray, np.ndarray]:
    observation = jax.tree.map(lambda leaf: leaf[index], scenes.observation)
    channel = np.asarray(observation.channel, np.complex128)
    matrix = np.concatenate([channel * code for code in np.asarray(observation.codes, np.complex128)])
    return observation, matrix, np.asarray(observation.snapshots, np.complex128).ravel()


def _noise_variance(observation: Observation) -> jax.Array:
    return measurement.noise_variance(observation, measurement.fit_field(observation))


def test_operators_are_those_of_the_explicit_matrix(scenes):
    observation, matrix, snapshots = _one(scenes, 0)
    field = np.random.default_rng(0).normal(size=(36, 2)).astype(np.float32).view(np.complex64)[:, 0]
    np.testing.assert_allclose(
        np.ravel(measurement.forward(observation, jnp.asarray(field))), matrix @ field, atol=1e-5
    )
    adjoint = matrix.conj().T @ snapshots
    np.testing.assert_allclose(measurement.matched_filter(observation), adjoint, atol=1e-5 * np.abs(adjoint).max())
    gram = matrix.conj().T @ matrix
    np.testing.assert_allclose(measurement.gram(observation), gram, atol=1e-5 * np.abs(gram).max())


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 10.0])
def test_back_projection_solves_the_ridge_problem(scenes, alpha):
    observation, matrix, snapshots = _one(scenes, 1)
    expected = np.linalg.solve(matrix.conj().T @ matrix + alpha * np.eye(36), matrix.conj().T @ snapshots)
    image = measurement.back_projection(observation, alpha)
    np.testing.assert_allclose(image, expected, atol=10 * RELATIVE_FLOAT32 * np.abs(expected).max())


def test_noise_variance_is_unbiased_with_the_spread_of_its_degrees_of_freedom(scenes):
    """LM - N = 36 complex degrees of freedom: a relative standard deviation of 1/6 a scene, 1.2 % over 200."""
    estimate = jax.jit(jax.vmap(_noise_variance))(scenes.observation)
    ratio = np.asarray(estimate / scenes.truth.noise_variance)
    np.testing.assert_allclose(ratio.mean(), 1, atol=4 / 6 / np.sqrt(200))
    np.testing.assert_allclose(ratio.std(), 1 / 6, rtol=0.25)


def test_noise_variance_needs_more_measurements_than_elements(scenes):
    observation, _, _ = _one(scenes, 0)
    few = observation._replace(snapshots=observation.snapshots[:4], codes=observation.codes[:4])
    with pytest.raises(ValueError, match=r"4 \* 8 measurements for N = 36 unknowns"):
        _noise_variance(few)


def test_degrees_of_freedom_are_those_of_the_explicit_matrix(scenes):
    """tr[G (G + alpha I)^-1] with alpha from the energy balance, of every scene."""
    images = jax.jit(jax.vmap(lambda observation: regularised_images(observation, (1.0, 0.1))))(scenes.observation)
    for index in range(10):
        _, matrix, snapshots = _one(scenes, index)
        values = np.linalg.eigvalsh(matrix.conj().T @ matrix)
        field, *_ = np.linalg.lstsq(matrix, snapshots)
        residual = np.linalg.norm(snapshots - matrix @ field) ** 2
        noise = residual / 36 * 72
        alpha = noise / (np.linalg.norm(snapshots) ** 2 - noise) * values.sum() / 72
        expected = np.sum(values / (values + alpha))
        np.testing.assert_allclose(images.measured.degrees_of_freedom[index], expected, rtol=1e-3)
        np.testing.assert_allclose(images.measured.fit.residual[index], residual, rtol=1e-3)


def test_the_first_image_is_that_of_the_noise_level(scenes):
    observation, _, _ = _one(scenes, 0)
    with pytest.raises(ValueError, match=r"got multiples \(0.1, 1.0\) .*, expected the first to be 1"):
        regularised_images(observation, (0.1, 1.0))


def test_minimum_norm_images_reproduce_each_snapshot(scenes):
    observation, _, _ = _one(scenes, 2)
    images = np.asarray(measurement.minimum_norm_images(observation, 1e-7))
    again = (np.asarray(observation.codes) * images) @ np.asarray(observation.channel).T
    scale = np.abs(observation.snapshots).max()
    np.testing.assert_allclose(again, observation.snapshots, atol=1e-3 * scale)


def test_per_snapshot_symbols_are_refused_where_a_common_field_is_needed():
    measurement.require_common_field(SceneConfig(), "the back-projection")
    with pytest.raises(ValueError, match="the back-projection needs one coherent field"):
        measurement.require_common_field(SceneConfig(symbols="per_snapshot"), "the back-projection")
