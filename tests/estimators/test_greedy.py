"""Greedy maximum likelihood and the joint polish on planted sources."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import EstimatorConfig
from risjax.estimators import localise_greedy, make_grid, polish
from risjax.estimators.greedy import count_by_residual
from risjax.types import Estimates
from tests.estimators.scenes import observe, small_physics

TRUTH = np.array([[-0.6, 0.2, 1.1], [0.4, -0.3, 2.5]], np.float32)
AMPLITUDES = np.array([1.0, 0.7j])
BEAMWIDTH = 2 / 8
FLOAT32 = 1e-3 * BEAMWIDTH
PHYSICS = small_physics()
ESTIMATOR = EstimatorConfig()


@pytest.fixture(scope="module")
def greedy():
    grid = make_grid(PHYSICS, ESTIMATOR.greedy.grid)
    return jax.jit(jax.vmap(lambda o: localise_greedy(o, PHYSICS, ESTIMATOR, grid=grid)))


def by_azimuth(position: np.ndarray) -> np.ndarray:
    return position[np.argsort(position[:, 0])]


def test_planted_noisy_and_invalid_scenes_in_one_batch(greedy) -> None:
    scenes = [
        observe(PHYSICS, TRUTH, AMPLITUDES),
        observe(PHYSICS, TRUTH[:1], AMPLITUDES[:1], seed=1),
        observe(PHYSICS, TRUTH, AMPLITUDES, noise=0.02, seed=2),
        observe(PHYSICS, TRUTH, 0 * AMPLITUDES, noise=1.0, seed=3),
    ]
    broken = scenes[0]._replace(snapshots=scenes[0].snapshots.at[0, 0].set(jnp.nan))
    silent = scenes[0]._replace(snapshots=0 * scenes[0].snapshots)
    found = greedy(jax.tree.map(lambda *leaf: jnp.stack(leaf), *scenes, broken, silent))
    active, position = np.asarray(found.active), np.asarray(found.position)
    assert active.sum(1)[2:].tolist() == [2, 0, 0, 0]
    assert np.isfinite(position).all()
    noiseless = by_azimuth(position[0, :2])
    np.testing.assert_allclose(np.sin(noiseless[:, :2]), np.sin(TRUTH[:, :2]), atol=FLOAT32)
    np.testing.assert_allclose(position[1, 0], TRUTH[0], rtol=1e-3)
    noisy, std = position[2][active[2]], np.asarray(found.std)[2][active[2]]
    order = np.argsort(noisy[:, 0])
    assert (np.abs(noisy[order] - TRUTH) < 4 * std[order]).all()
    np.testing.assert_allclose(np.abs(np.asarray(found.amplitude)[2, :2]), [1.0, 0.7], rtol=0.1)


def test_polish_returns_a_perturbed_start_to_the_truth() -> None:
    observation = observe(PHYSICS, TRUTH, AMPLITUDES)
    start = np.zeros((3, 3), np.float32)
    start[[0, 2]] = TRUTH + np.array([[0.03, -0.03, 0.1], [-0.03, 0.02, -0.2]])
    active = jnp.asarray([True, False, True])
    blank = Estimates(jnp.asarray(start), jnp.zeros(3), active, jnp.ones((3, 3)), jnp.zeros(3), jnp.zeros(3))
    found = jax.jit(lambda o, e: polish(o, e, PHYSICS))(observation, blank)
    np.testing.assert_allclose(by_azimuth(np.asarray(found.position)[:2]), TRUTH, rtol=1e-3)
    np.testing.assert_allclose(found.amplitude[:2], AMPLITUDES, rtol=1e-3, atol=1e-3)
    assert found.active.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("residuals", "count"),
    [([1.0, 0.1, 0.099, 0.098], 1), ([1.0, 0.99, 0.98, 0.97], 0), ([1.0, 0.5, 0.2, 0.05], 3), ([0.0] * 4, 0)],
)
def test_the_criterion_counts_sources_that_lower_the_residual_enough(residuals: list[float], count: int) -> None:
    assert int(count_by_residual(jnp.asarray(residuals), jnp.asarray(80.0), 1.0)) == count
