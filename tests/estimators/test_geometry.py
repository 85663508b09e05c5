"""Scenes with a surface of their own: who knows it reaches the bound, who does not is biased."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import EstimatorConfig, GridConfig, ImpairmentsConfig, PhysicsConfig, SceneConfig
from risjax.config.estimator import GreedyConfig, SparseConfig
from risjax.data.stream import scene_batch
from risjax.estimators import (
    localise_bartlett,
    localise_esprit,
    localise_greedy,
    localise_music,
    localise_mvdr,
    localise_omp,
    localise_sparse,
    polish,
)
from risjax.estimators.stochastic import polish_stochastic
from risjax.keys import Purpose
from risjax.linalg import LowRankCovariance
from risjax.physics.array import element_positions, steering
from risjax.physics.crb import deterministic_crb, stochastic_crb
from risjax.physics.measurement import forward
from risjax.spectral.grid import make_grid, to_position
from risjax.types import Estimates, Geometry, Observation, Scene
from tests.estimators.scenes import observe, small_physics

NAMES = ("position_jitter", "wavelength_error", "spacing_error")
GRID = GridConfig(num_azimuth=25, num_elevation=15, num_range=9)
ESTIMATOR = EstimatorConfig(
    grid=GRID, greedy=GreedyConfig(grid=GRID), sparse=SparseConfig(grid=GRID, iterations=20, polish_iterations=0)
)
SCENES = 64


def known_physics(symbols: Literal["constant", "per_snapshot"] = "constant") -> PhysicsConfig:
    """One source at 30 dB in front of a surface whose elements lie up to a quarter of the spacing off their places."""
    impairments = ImpairmentsConfig(position_jitter=0.25, wavelength_error=0.03, spacing_error=0.03, known=NAMES)
    scene = SceneConfig(max_sources=1, num_sources=(1, 1), range_m=(0.5, 2.0), snr_db=(30.0, 30.0), symbols=symbols)
    return small_physics().model_copy(update={"impairments": impairments, "scene": scene})


PHYSICS = known_physics()


@pytest.fixture(scope="module")
def scenes() -> Scene:
    return jax.jit(lambda: scene_batch(PHYSICS, 0, Purpose.TEST_SCENES, 0, SCENES))()


def in_bounds(found: Estimates, scenes: Scene, std: np.ndarray) -> np.ndarray:
    """Errors over the bound's standard deviations, [S, 3]."""
    assert np.asarray(found.active).all()
    return np.asarray(found.position - scenes.truth.sources.position)[:, 0] / std


def nominal(observation: Observation) -> Observation:
    """Believed to be of the nominal surface; of the same tree as the moved one, so that one program serves both."""
    plane, wavelength_m = element_positions(PHYSICS.array), PHYSICS.array.wavelength_m
    believed = Geometry(jnp.asarray(plane, jnp.float32), jnp.asarray(wavelength_m, jnp.float32))
    count = len(observation.snapshots)
    return observation._replace(geometry=jax.tree.map(lambda leaf: jnp.stack([leaf] * count), believed))


def bound_std(bound: Callable, scenes: Scene) -> np.ndarray:
    """Standard deviations of the source, [S, 3]."""
    each = jax.jit(jax.vmap(lambda o, s, v: bound(PHYSICS.array, o, s, v).std[0]))
    return np.asarray(each(scenes.observation, scenes.truth.sources, scenes.truth.noise_variance))


def start(scenes: Scene) -> Estimates:
    """The truth, off by a tenth of a beamwidth: where a polish begins."""
    sources, nothing = scenes.truth.sources, jnp.zeros((SCENES, 1))
    offset = jnp.asarray([0.02, -0.02, 0.0])[None, None]
    return Estimates(
        sources.position + offset,
        sources.amplitude,
        sources.active,
        0 * offset + 0 * sources.position,
        nothing,
        nothing,
    )


METHODS: dict[str, Callable] = {
    "greedy": lambda o, _: localise_greedy(o, PHYSICS, ESTIMATOR, jnp.asarray(1)),
    "polish": lambda o, near: polish(o, near, PHYSICS, iterations=10),
}


@pytest.mark.parametrize("name", ["greedy", pytest.param("polish", marks=pytest.mark.slow)])
def test_a_known_surface_reaches_the_bound_and_an_unknown_one_is_biased(scenes: Scene, name: str) -> None:
    """192 errors of unit variance: their root mean square is known to 5 %; without the geometry it is ten and more."""
    std = bound_std(deterministic_crb, scenes)
    run = jax.jit(jax.vmap(METHODS[name]))
    known = in_bounds(run(scenes.observation, start(scenes)), scenes, std)
    blind = in_bounds(run(nominal(scenes.observation), start(scenes)), scenes, std)
    assert abs(np.sqrt(np.mean(known**2)) - 1) < 0.2
    assert (np.sqrt(np.mean(blind**2, axis=0)) > 10).all()


def geometry_of(seed: int = 0) -> Geometry:
    generator = np.random.default_rng(seed)
    elements = element_positions(PHYSICS.array)
    elements = elements + generator.uniform(-0.04, 0.04, elements.shape)
    return Geometry(jnp.asarray(elements, jnp.float32), jnp.asarray(0.29, jnp.float32))


@pytest.mark.slow
def test_omp_searches_the_scenes_surface() -> None:
    """A source on a point of the grid, noiseless: found there, and explained thousands of times better than without."""
    geometry, points = geometry_of(), make_grid(PHYSICS, GRID)
    truth = to_position(points.cosines[15, 9, 4])
    empty = observe(PHYSICS, np.asarray(truth)[None], np.zeros(1))
    field = steering(PHYSICS.array, truth, geometry)
    observation = empty._replace(snapshots=forward(empty, field), geometry=geometry)
    run = jax.jit(lambda o: localise_omp(o, PHYSICS, ESTIMATOR, jnp.asarray(1)))
    found, blind = run(observation), run(observation._replace(geometry=None))
    np.testing.assert_allclose(found.position[0], truth, rtol=1e-5)
    assert found.score[0] > 1000 * blind.score[0]


def test_stated_standard_deviations_are_the_bounds(scenes: Scene) -> None:
    polished = jax.jit(jax.vmap(METHODS["polish"]))(scenes.observation, start(scenes))
    ratio = np.asarray(polished.std)[:, 0] / bound_std(deterministic_crb, scenes)
    np.testing.assert_allclose(np.median(ratio), 1, rtol=0.1)


@pytest.mark.parametrize(
    "method", [localise_mvdr, *(pytest.param(m, marks=pytest.mark.slow) for m in (localise_bartlett, localise_music))]
)
def test_spectra_are_on_the_scenes_surface(method: Callable) -> None:
    """A source's own covariance: found to 1e-3 of a beamwidth with the geometry, not to 3e-2 without."""
    truth, geometry = jnp.asarray([[0.31, -0.17, 1.1]]), geometry_of()
    factor = steering(PHYSICS.array, truth, geometry).T * np.sqrt(48).astype(np.float32)
    covariance = LowRankCovariance(factor, jnp.asarray(1e-3))
    run = jax.jit(lambda c, g: method(c, PHYSICS, ESTIMATOR, jnp.asarray(1), geometry=g))
    beamwidth = np.array([2 / 8, 2 / 6])
    miss = [np.sin(np.asarray(run(covariance, g).position)[0, :2]) - np.sin(truth[0, :2]) for g in (geometry, None)]
    assert (np.abs(miss[0]) / beamwidth < 1e-3).all()
    assert (np.abs(miss[1]) / beamwidth > 3e-2).any()


@pytest.mark.slow
def test_changing_symbols_on_the_scenes_surface() -> None:
    """The stochastic polish reaches its bound, the sparse fit its grid; without the geometry both are biased."""
    physics = known_physics("per_snapshot")
    scenes = jax.jit(lambda: scene_batch(physics, 0, Purpose.TEST_SCENES, 0, SCENES))()
    std = bound_std(stochastic_crb, scenes)
    run = jax.jit(jax.vmap(lambda o, near: polish_stochastic(o, near, physics, iterations=30)))
    hidden = nominal(scenes.observation)
    known, blind = (in_bounds(run(o, start(scenes)), scenes, std) for o in (scenes.observation, hidden))
    assert abs(np.sqrt(np.mean(known**2)) - 1) < 0.2
    assert (np.sqrt(np.mean(blind**2, axis=0)) > 5).all()
    fit = jax.jit(
        lambda o: jax.lax.map(lambda observation: localise_sparse(observation, physics, ESTIMATOR, jnp.asarray(1)), o)
    )
    truth = np.sin(np.asarray(scenes.truth.sources.position)[:16, 0, :2])
    misses = []
    for observation in (scenes.observation, hidden):
        few: Observation = jax.tree.map(lambda leaf: leaf[:16], observation)
        misses.append(np.median(np.abs(np.sin(np.asarray(fit(few).position)[:, 0, :2]) - truth)))
    assert misses[0] < 0.01 < 2 * misses[0] + 0.01 < misses[1] + 0.01


def test_esprit_takes_uniform_grids_only() -> None:
    array = PHYSICS.array
    moved = array.model_copy(update={"elements_m": tuple(map(tuple, element_positions(array).tolist()))})
    covariance = LowRankCovariance(jnp.ones((48, 1), jnp.complex64), jnp.asarray(1e-3))
    with pytest.raises(ValueError, match="expected a uniform grid of elements, which ESPRIT needs"):
        localise_esprit(covariance, PHYSICS.model_copy(update={"array": moved}), EstimatorConfig(), 1)
