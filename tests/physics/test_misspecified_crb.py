"""The misspecified bound against maximum likelihood on a wrong manifold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ArrayConfig, ChannelConfig, CodebookConfig, PhysicsConfig, SceneConfig
from risjax.physics.crb import deterministic_crb
from risjax.physics.distributions import complex_normal
from risjax.physics.measurement import forward
from risjax.physics.misspecified_crb import fit, misspecified_crb
from risjax.physics.scene import draw_scene, sources_steering

SMALL = PhysicsConfig(
    array=ArrayConfig(num_horizontal=6, num_vertical=6),
    channel=ChannelConfig(num_antennas=8),
    codebook=CodebookConfig(kind="dft", num_snapshots=9),
    scene=SceneConfig(max_sources=3, num_sources=(2, 2), range_m=(0.5, 2.0)),
)


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
def test_misspecified_bound_is_mean_and_spread_of_maximum_likelihood(doubles, wavefront):
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
