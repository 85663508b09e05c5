"""Bad input: a clear error while tracing, or an empty answer of that scene that spares its neighbours in the batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from risjax.config import EstimatorConfig, GridConfig, PhysicsConfig, SceneConfig
from risjax.config.estimator import GreedyConfig, SparseConfig
from risjax.estimators import (
    localise_bartlett,
    localise_greedy,
    localise_music,
    localise_mvdr,
    localise_omp,
    localise_sparse,
    make_grid,
    polish,
)
from risjax.linalg import LowRankCovariance
from risjax.physics.array import steering
from risjax.spectral.grid import field_of_view, into_field, to_cosines
from risjax.types import Estimates
from tests.estimators.scenes import covariance, observe, small_physics

PHYSICS = small_physics(max_sources=2)
GRID = GridConfig(num_azimuth=17, num_elevation=11, num_range=5)
ESTIMATOR = EstimatorConfig(
    grid=GRID, candidates=8, greedy=GreedyConfig(grid=GRID, iterations=6), sparse=SparseConfig(grid=GRID, iterations=5)
)
TRUTH = np.array([[-0.53, 0.21, 1.1], [0.43, -0.29, 2.3]], np.float32)
COVARIANCE = {"mvdr": localise_mvdr, "music": localise_music, "bartlett": localise_bartlett}
SNAPSHOTS = {"greedy": localise_greedy, "omp": localise_omp, "sparse": localise_sparse}


def quick_first(methods: dict[str, Callable]) -> list:
    """The first runs always, the others, which share its search, with -m slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] if i else []) for i, name in enumerate(methods)]


def _batched(method: Callable, data: object, count: int | None) -> Estimates:
    num_sources = None if count is None else jnp.asarray(count)
    grid = make_grid(PHYSICS, GRID)
    return jax.jit(jax.vmap(lambda scene: method(scene, PHYSICS, ESTIMATOR, num_sources, grid=grid)))(data)


def _is_empty(found: Estimates, scene: int) -> bool:
    single = jax.tree.map(lambda leaf: np.asarray(leaf)[scene], found)
    return not single.active.any() and not single.position.any() and bool(np.isposinf(single.std).all())


@pytest.mark.parametrize("name", quick_first(COVARIANCE))
def test_invalid_covariances_give_no_source_and_do_not_change_the_other_scenes(name):
    """Scenes: good; NaN; infinite; zero without and with loading; and, where it is inverted, without loading."""
    good = covariance(PHYSICS, TRUTH, np.array([1.0, 0.8]))
    factors = jnp.stack([good.factor * scale for scale in (1.0, jnp.nan, jnp.inf, 0.0, 0.0, 1.0)])
    loading = jnp.asarray([1e-3, 1e-3, 1e-3, 0.0, 1e-3, 0.0])
    found = _batched(COVARIANCE[name], LowRankCovariance(factors, loading), 2)
    places = np.asarray(found.position)
    assert np.asarray(found.active)[0].all()
    np.testing.assert_allclose(places[0][np.argsort(places[0, :, 0])], TRUTH, rtol=0.05)
    empty = [_is_empty(found, scene) for scene in range(6)]
    assert empty == [False, True, True, True, True, name == "mvdr"]


@pytest.mark.parametrize("name", quick_first(SNAPSHOTS))
def test_invalid_snapshots_give_no_source_and_do_not_change_the_other_scenes(name):
    good = observe(PHYSICS, TRUTH, np.array([1.0, 0.8j]), noise=0.01)
    bad = [
        good._replace(snapshots=good.snapshots.at[1, 1].set(jnp.nan)),
        good._replace(snapshots=good.snapshots.at[1, 1].set(jnp.inf)),
        good._replace(snapshots=0 * good.snapshots),
        good._replace(channel=good.channel.at[0, 0].set(jnp.nan)),
    ]
    found = _batched(SNAPSHOTS[name], jax.tree.map(lambda *leaves: jnp.stack(leaves), good, *bad), 9)
    assert np.asarray(found.active)[0].sum() == 2  # of nine asked for: there are two slots
    assert [_is_empty(found, scene) for scene in (1, 2, 3, 4)] == [True] * 4


def test_more_sources_than_measurements_can_resolve_are_refused():
    """10 x 8 complex measurements carry 160 real numbers, 32 sources of five parameters."""
    SceneConfig(max_sources=33, num_sources=(1, 33))
    with pytest.raises(ValidationError, match="carry 32 at most; lower max_sources or measure more"):
        PhysicsConfig.model_validate(
            PHYSICS.model_dump() | {"scene": PHYSICS.scene.model_dump() | {"max_sources": 33, "num_sources": (1, 33)}}
        )


@pytest.mark.parametrize("method", [localise_greedy, localise_omp, localise_sparse])
def test_no_snapshots_at_all_are_refused(method):
    good = observe(PHYSICS, TRUTH, np.ones(2))
    nothing = good._replace(snapshots=good.snapshots[:0], codes=good.codes[:0])
    with pytest.raises(ValueError, match=r"snapshots has shape \[0, 8\], expected .*: nothing was measured"):
        method(nothing, PHYSICS, ESTIMATOR)


def test_polish_of_an_invalid_scene_gives_no_source():
    good = observe(PHYSICS, TRUTH, np.ones(2))
    start = Estimates(jnp.asarray(TRUTH), jnp.ones(2, jnp.complex64), jnp.ones(2, bool), *3 * [jnp.zeros(2)])._replace(
        std=jnp.zeros((2, 3))
    )
    bad = good._replace(snapshots=good.snapshots * jnp.nan)
    found = jax.jit(lambda o: polish(o, start, PHYSICS, iterations=2))(bad)
    assert not np.asarray(found.active).any()


def test_a_grid_of_another_surface_is_refused():
    other = make_grid(PhysicsConfig(), GRID)
    message = "grid was made for a surface of 144 elements, got one of 48"
    with pytest.raises(ValueError, match=message):
        localise_mvdr(covariance(PHYSICS, TRUTH, np.ones(2)), PHYSICS, ESTIMATOR, grid=other)
    with pytest.raises(ValueError, match=message):
        localise_greedy(observe(PHYSICS, TRUTH, np.ones(2)), PHYSICS, ESTIMATOR, grid=other)


@pytest.mark.parametrize(
    ("azimuth_deg", "elevation_deg", "range_m"),
    [
        ((-60.0, 60.0), (-30.0, 30.0), (0.5, 10.0)),
        ((10.0, 80.0), (20.0, 70.0), (1.0, 3.0)),
        ((-5.0, 5.0), (-89.0, -60.0), (0.5, 50.0)),
    ],
)
def test_a_grid_cannot_miss_the_field_of_view(azimuth_deg, elevation_deg, range_m):
    """It is made from it: every place lies within a cell of a point that is searched, and refinement stays inside."""
    scene = SceneConfig(azimuth_deg=azimuth_deg, elevation_deg=elevation_deg, range_m=range_m)
    physics = PHYSICS.model_copy(update={"scene": scene})
    grid = make_grid(physics, GRID)
    cell = np.array([np.ptp(np.unique(np.asarray(grid.cosines)[..., i])) for i in range(3)]) / np.array([16, 10, 4])
    random = np.random.default_rng(0)
    low, high = np.array([np.radians(azimuth_deg), np.radians(elevation_deg), range_m]).T
    places = np.asarray(to_cosines(jnp.asarray(random.uniform(low, high, (500, 3)), jnp.float32)))
    searched = np.asarray(grid.cosines)[np.asarray(grid.inside)]
    nearest = np.abs((places[:, None] - searched[None]) / cell).max(-1).min(1)
    assert nearest.max() < 1
    np.testing.assert_allclose(into_field(jnp.asarray(places), field_of_view(physics)), places, atol=1e-5)
    assert np.isfinite(np.asarray(steering(physics.array, jnp.ones(3)))).all()
