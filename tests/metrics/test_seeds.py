"""Intervals over seeds and scenes: against the formula written out, against their limits, and against their promise."""

import numpy as np
import pytest
from scipy import stats

from risjax.metrics.bootstrap import Drawn, Ratio, draw_ratios, scene_weights
from risjax.metrics.seeds import over_seeds, paired_over_seeds

SCENES, DRAWS = 400, 4000


def _drawn(values: np.ndarray, weights: np.ndarray) -> list[Drawn]:
    """The mean over scenes of each row, under the resampled scenes."""
    return [draw_ratios({"m": Ratio(row, np.ones(len(row)))}, weights)["m"] for row in values]


def _world(rng: np.random.Generator, seeds: int, *, seed_std: float, scenes: int = SCENES) -> np.ndarray:
    """[seeds, scenes]: difficulty of each scene, plus an offset of each seed, plus independent noise."""
    noise = rng.normal(size=(seeds, scenes))
    return rng.normal(size=scenes) + seed_std * rng.normal(size=(seeds, 1)) + 0.5 * noise


def test_the_interval_follows_the_formula():
    rng = np.random.default_rng(0)
    values, weights = _world(rng, 3, seed_std=0.1), scene_weights(SCENES, DRAWS, 0)
    found = over_seeds(_drawn(values, weights))
    means = values.mean(1)
    of_scenes = values.mean(0).var(ddof=1) / SCENES  # what the resampling estimates
    of_seeds = means.var(ddof=1) / 3
    total = of_scenes + of_seeds
    half = stats.t.ppf(0.975, 2 * (total / of_seeds) ** 2) * np.sqrt(total)
    np.testing.assert_allclose(found["value"], means.mean(), rtol=1e-6)
    np.testing.assert_allclose(found["seeds"], means, rtol=1e-6)
    np.testing.assert_allclose(found["high"] - found["value"], half, rtol=0.05)  # of DRAWS resamplings
    np.testing.assert_allclose(found["high"] - found["value"], found["value"] - found["low"], rtol=1e-9)


def test_the_limits_are_students_interval_over_seeds_and_a_normal_one_over_scenes():
    weights = scene_weights(SCENES, DRAWS, 0)
    by_seed = np.array([0.1, 0.2, 0.6])
    alike = over_seeds(_drawn(by_seed[:, None] * np.ones(SCENES), weights))  # all scenes equal: only seeds matter
    half = stats.t.ppf(0.975, 2) * by_seed.std(ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(alike["high"] - alike["value"], half, rtol=1e-4)
    scenes = np.random.default_rng(0).normal(size=SCENES)
    repeated = over_seeds(_drawn(np.tile(scenes, (3, 1)), weights))  # one training under three names
    alone = over_seeds(_drawn(scenes[None], weights))
    for found in (repeated, alone):
        half = 1.96 * scenes.std(ddof=1) / np.sqrt(SCENES)
        np.testing.assert_allclose(found["high"] - found["value"], half, rtol=0.05)


def test_a_paired_difference_cancels_common_scenes_and_seeds():
    """Equal scenes and equal seeds: what is left is the difference's own noise."""
    rng = np.random.default_rng(0)
    first = _world(rng, 3, seed_std=0.5)
    second = first - 0.2 + 0.1 * rng.normal(size=first.shape)
    weights = scene_weights(SCENES, DRAWS, 0)
    found = paired_over_seeds(_drawn(first, weights), _drawn(second, weights))
    expected = over_seeds(_drawn(first - second, weights))
    for end in ("value", "low", "high"):
        np.testing.assert_allclose(found[end], expected[end], atol=1e-6)
    assert 0.15 < found["low"] < 0.2 < found["high"] < 0.25
    apart = over_seeds(_drawn(first, weights))
    assert found["high"] - found["low"] < 0.1 * (apart["high"] - apart["low"])


@pytest.mark.parametrize(("seeds", "seed_std"), [(3, 0.0), (3, 0.05), (3, 0.5), (2, 0.1), (5, 0.1)])
def test_the_interval_has_its_stated_coverage(seeds, seed_std):
    """New scenes and new seeds, again and again; wider is allowed, by what scenes and seeds do together."""
    rng, worlds, scenes = np.random.default_rng(1), 400, 60
    hits = 0
    for _ in range(worlds):
        drawn = _drawn(_world(rng, seeds, seed_std=seed_std, scenes=scenes), scene_weights(scenes, 300, 1))
        found = over_seeds(drawn)
        hits += found["low"] <= 0.0 <= found["high"]
    four_errors = 4 * np.sqrt(0.95 * 0.05 / worlds)
    assert 0.95 - four_errors <= hits / worlds
