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
from risjax.physics.crb import stochastic_crb
from risjax.physics.measurement import forward
from risjax.types import Observation, Sources
from tests.estimators.scenes import covariance, observe, small_physics, steer

PHYSICS = small_physics()
TRUTH = np.array([[-0.53, 0.21, 1.1], [0.43, -0.29, 2.3]], np.float32)


def per_snapshot(truth: np.ndarray, noise: float, seed: int = 0) -> Observation:
    """Symbols of unit power drawn anew in every snapshot, noise of variance ``noise`` squared an entry."""
    generator = np.random.default_rng(seed)
    empty = observe(PHYSICS, truth, np.zeros(len(truth)))
    count = empty.snapshots.shape[0]

    def gaussian(*shape: int) -> np.ndarray:
        return ((generator.normal(size=shape) + 1j * generator.normal(size=shape)) / np.sqrt(2)).astype(np.complex64)

    fields = jnp.asarray(gaussian(count, len(truth))) @ steer(PHYSICS, truth).T
    clean = jnp.stack([forward(empty, field)[i] for i, field in enumerate(fields)])
    return empty._replace(snapshots=clean + noise * gaussian(*clean.shape))


@pytest.fixture(scope="module")
def sparse():
    grid = GridConfig(num_azimuth=21, num_elevation=13, num_range=5)
    estimator = EstimatorConfig(sparse=SparseConfig(grid=grid, iterations=30))
    return jax.jit(lambda o, k: localise_sparse(o, PHYSICS, estimator, k))


@pytest.mark.parametrize("count", [1, 2])
def test_sparse_fit_finds_sources_whose_symbols_change(sparse, count: int) -> None:
    """1e-3 of a beamwidth without noise, though none lies on the grid."""
    found = sparse(per_snapshot(TRUTH[:count], noise=0.0), jnp.asarray(count))
    assert np.asarray(found.active).sum() == count
    position = np.asarray(found.position)[np.asarray(found.active)]
    position = position[np.argsort(position[:, 0])]
    np.testing.assert_allclose(np.sin(position[:, :2]), np.sin(TRUTH[:count, :2]), atol=1e-3 * 0.25)
    np.testing.assert_allclose(1 / position[:, 2], 1 / TRUTH[:count, 2], atol=1e-3)


def test_an_invalid_scene_of_changing_symbols_gives_no_source(sparse) -> None:
    observation = per_snapshot(TRUTH, noise=0.02)
    for snapshots in (observation.snapshots.at[3, 2].set(jnp.nan), 0 * observation.snapshots):
        found = sparse(observation._replace(snapshots=snapshots), jnp.asarray(2))
        assert not np.asarray(found.active).any()
        assert np.isfinite(np.asarray(found.position)).all()


@pytest.mark.slow
def test_polish_for_changing_symbols_is_efficient(sparse) -> None:
    """200 draws of symbols and noise: the scatter is the stochastic bound's, and the stated widths are right."""
    sources = Sources(
        jnp.asarray(np.pad(TRUTH, ((0, 1), (0, 0)))), jnp.asarray([1, 1, 0], jnp.complex64), jnp.arange(3) < 2
    )
    bound = stochastic_crb(PHYSICS.array, per_snapshot(TRUTH, noise=0.0), sources, 0.03**2)
    errors, widths = [], []
    for seed in range(200):
        found = sparse(per_snapshot(TRUTH, noise=0.03, seed=seed), jnp.asarray(2))
        position = np.asarray(found.position)[:2]
        order = np.argsort(position[:, 0])
        errors.append(position[order] - TRUTH)
        widths.append(np.asarray(found.std)[:2][order])
    error, width = np.stack(errors), np.stack(widths)
    np.testing.assert_allclose(np.sqrt(np.mean(error**2, axis=0)), bound.std[:2], rtol=0.25)
    coverage = np.mean(np.abs(error) < 2 * width)
    assert 0.9 < coverage < 0.98


def test_the_likelihood_refuses_per_snapshot_symbols() -> None:
    scene = PHYSICS.scene.model_copy(update={"symbols": "per_snapshot"})
    physics = PHYSICS.model_copy(update={"scene": scene})
    with pytest.raises(ValueError, match="constant symbols"):
        localise_greedy(observe(PHYSICS, TRUTH, np.ones(2)), physics, EstimatorConfig())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_esprit_on_plane_waves(count: int) -> None:
    """1e-3 of a beamwidth (0.25 in direction cosines) on sources at 10 km."""
    truth = np.array([[-0.5, 0.2, 1e4], [0.1, -0.3, 1e4], [0.6, 0.25, 1e4]], np.float32)[:count]
    found = localise_esprit(covariance(PHYSICS, truth, [1.0, 0.5, 0.7][:count]), PHYSICS, EstimatorConfig(), count)
    assert np.asarray(found.active).sum() == count
    position = np.asarray(found.position)[:count]
    np.testing.assert_allclose(position[np.argsort(position[:, 0])][:, :2], truth[:, :2], atol=2.5e-4)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_esprit_with_a_traced_or_unknown_number_of_sources(count: int) -> None:
    truth = np.array([[-0.5, 0.2, 1e4], [0.1, -0.3, 1e4], [0.6, 0.25, 1e4]], np.float32)[:count]
    of_truth = covariance(PHYSICS, truth, [1.0, 0.5, 0.7][:count])
    expected = localise_esprit(of_truth, PHYSICS, EstimatorConfig(), count)
    traced = jax.jit(lambda k: localise_esprit(of_truth, PHYSICS, EstimatorConfig(), k))(jnp.asarray(count))
    blind = jax.jit(lambda: localise_esprit(of_truth, PHYSICS, EstimatorConfig()))()
    for found in (traced, blind):
        np.testing.assert_array_equal(found.active, expected.active)
        np.testing.assert_allclose(np.sort(found.position, 0), np.sort(expected.position, 0), atol=1e-5)
    none = jax.jit(lambda k: localise_esprit(of_truth, PHYSICS, EstimatorConfig(), k))(jnp.asarray(0))
    assert not np.asarray(none.active).any()


def test_esprit_refuses_more_sources_than_it_can_resolve() -> None:
    with pytest.raises(ValueError, match="num_sources"):
        localise_esprit(covariance(PHYSICS, TRUTH, [1.0, 1.0]), PHYSICS, EstimatorConfig(), 3)


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
