"""In float64 the planted gates hold to where float32 cannot follow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import EstimatorConfig, GridConfig
from risjax.config.estimator import GreedyConfig
from risjax.estimators import localise_greedy, localise_mvdr
from tests.estimators.scenes import covariance, observe, small_physics

TRUTH = np.array([[-0.53, 0.21, 1.1], [0.43, -0.29, 2.3]])
GRID = GridConfig(num_azimuth=17, num_elevation=11, num_range=5)
ESTIMATOR = EstimatorConfig(grid=GRID, greedy=GreedyConfig(grid=GRID, iterations=20))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["greedy", "mvdr"])
def test_planted_sources(name: str) -> None:
    physics = small_physics()
    with jax.enable_x64(True):
        if name == "greedy":
            observation = observe(physics, TRUTH, np.array([1.0, 0.8j]))
            assert observation.snapshots.dtype == jnp.complex128
            found = jax.jit(lambda o: localise_greedy(o, physics, ESTIMATOR, jnp.asarray(2)))(observation)
        else:
            single = covariance(physics, TRUTH, np.array([1.0, 0.8]), loading=1e-6)
            double = jax.tree.map(lambda leaf: leaf.astype(jnp.result_type(leaf, jnp.float64)), single)
            assert double.factor.dtype == jnp.complex128
            found = jax.jit(lambda c: localise_mvdr(c, physics, ESTIMATOR, jnp.asarray(2)))(double)
        position = np.asarray(found.position)[:2]
    assert position.dtype == np.float64
    position = position[np.argsort(position[:, 0])]
    np.testing.assert_allclose(position, TRUTH, rtol=1e-6)
