"""Covariance fitting for per-snapshot symbols, far-field ESPRIT, and counting by eigenvalues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import EstimatorConfig, GridConfig
from risjax.config.estimator import SparseConfig
from risjax.estimators import (
    count_by_aic,
    count_by_mdl,
    count_by_sorte,
    localise_esprit,
    localise_greedy,
    localise_sparse,
)
from risjax.physics.measurement import forward
from risjax.types import Observation
from tests.estimators.scenes import covariance, observe, small_physics, steer

PHYSICS = small_physics()
TRUTH = np.array([[-0.53, 0.21, 1.1], [0.43, -0.29, 2.3]], np.float32)


def per_snapshot(noise: float) -> Observation:
    """Symbols drawn anew in every snapshot."""
    generator = np.random.default_rng(0)
    empty = observe(PHYSICS, TRUTH, np.zeros(2))
    count = empty.snapshots.shape[0]
    symbols = (generator.normal(size=(count, 2)) + 1j * generator.normal(size=(count, 2))) / np.sqrt(2)
    fields = jnp.asarray(symbols, jnp.complex64) @ steer(PHYSICS, TRUTH).T
    clean = jnp.stack([forward(empty, field)[i] for i, field in enumerate(fields)])
    disturbance = noise * (generator.normal(size=clean.shape) + 1j * generator.normal(size=clean.shape)) / np.sqrt(2)
    return empty._replace(snapshots=clean + jnp.asarray(disturbance, jnp.complex64))


def test_sparse_fit_finds_sources_whose_symbols_change() -> None:
    grid = GridConfig(num_azimuth=21, num_elevation=13, num_range=5)
    estimator = EstimatorConfig(sparse=SparseConfig(grid=grid, iterations=30))
    observation = per_snapshot(noise=0.02)
    found = jax.jit(lambda o: localise_sparse(o, PHYSICS, estimator, jnp.asarray(2)))(observation)
    assert found.active.tolist() == [True, True, False]
    position = np.asarray(found.position)[:2]
    position = position[np.argsort(position[:, 0])]
    np.testing.assert_allclose(position[:, :2], TRUTH[:, :2], atol=0.03)


def test_the_likelihood_refuses_per_snapshot_symbols() -> None:
    scene = PHYSICS.scene.model_copy(update={"symbols": "per_snapshot"})
    physics = PHYSICS.model_copy(update={"scene": scene})
    with pytest.raises(ValueError, match="constant symbols"):
        localise_greedy(observe(PHYSICS, TRUTH, np.ones(2)), physics, EstimatorConfig())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_esprit_on_plane_waves(count: int) -> None:
    """1e-3 of a beamwidth (0.25 in direction cosines) on sources at 10 km."""
    truth = np.array([[-0.5, 0.2, 1e4], [0.1, -0.3, 1e4], [0.6, 0.25, 1e4]], np.float32)[:count]
    found = localise_esprit(covariance(PHYSICS, truth, [1.0, 0.5, 0.7][:count]), PHYSICS, count)
    assert np.asarray(found.active).sum() == count
    position = np.asarray(found.position)[:count]
    np.testing.assert_allclose(position[np.argsort(position[:, 0])][:, :2], truth[:, :2], atol=2.5e-4)


def test_esprit_refuses_what_it_cannot_tell_apart() -> None:
    with pytest.raises(ValueError, match="num_sources"):
        localise_esprit(covariance(PHYSICS, TRUTH, [1.0, 1.0]), PHYSICS, 3)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_model_order_on_many_snapshots(count: int) -> None:
    """White noise and sources 10 dB above it, 2,000 snapshots: MDL right, AIC never below."""
    generator = np.random.default_rng(count)
    size, snapshots = 8, 2000

    def gaussian(*shape: int) -> np.ndarray:
        return (generator.normal(size=shape) + 1j * generator.normal(size=shape)) / np.sqrt(2)

    data = gaussian(size, snapshots) + gaussian(size, count) @ gaussian(count, snapshots) * np.sqrt(10)
    values = jnp.asarray(np.linalg.eigvalsh(data @ data.conj().T / snapshots)[::-1].copy(), jnp.float32)
    assert int(count_by_mdl(values, snapshots)) == count
    assert int(count_by_aic(values, snapshots)) >= count
    if count:
        assert int(count_by_sorte(values)) == count
