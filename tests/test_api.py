"""Arguments of the public functions as users of NumPy pass them."""

import warnings
from typing import Any

import jax
import numpy as np
import pytest

import risjax
from risjax.types import Scene
from tests.tiny import tiny_config

PHYSICS = tiny_config().physics
SETTINGS: dict[str, Any] = {"array": {"num_horizontal": 6, "num_vertical": 6}, "codebook": {"num_snapshots": 8}}


@pytest.fixture(scope="module")
def scenes() -> Scene:
    return risjax.simulate(PHYSICS, 2, key=3)


def test_a_seed_of_numpy_or_a_key_draws_the_same_scenes(scenes: Scene):
    for key in (np.int64(3), jax.random.key(3)):
        np.testing.assert_array_equal(
            risjax.simulate(PHYSICS, 2, key=key).observation.snapshots, scenes.observation.snapshots
        )


@pytest.mark.parametrize(
    ("count", "arguments"), [(risjax.count_by_mdl, [200]), (risjax.count_by_aic, [200]), (risjax.count_by_sorte, [])]
)
def test_the_order_criteria_take_eigenvalues_of_numpy_without_a_warning(count, arguments):
    covariance = np.diag([1.0, 4.0, 1.1, 9.0, 0.9, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert int(count(np.linalg.eigvalsh(covariance)[::-1], *arguments)) == 2


def test_codes_are_designed_for_a_dict_of_settings():
    channel = np.random.default_rng(0).normal(size=(8, 36, 2)).view(complex)[..., 0]
    assert risjax.design_codes(channel, SETTINGS, steps=1).shape == (8, 36)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "deterministic"},
        {"kind": "misspecified", "assumed": SETTINGS | {"array": SETTINGS["array"] | {"wavefront": "paraxial"}}},
    ],
)
def test_the_bound_of_one_scene_is_its_entry_in_the_bounds_of_a_batch(scenes: Scene, options: dict[str, Any]):
    second = jax.tree.map(lambda leaf: leaf[1], scenes)
    batch, single = risjax.crb(PHYSICS, scenes, **options), risjax.crb(PHYSICS, second, **options)
    for many, one in zip(batch, single, strict=True):
        np.testing.assert_allclose(one, many[1], rtol=1e-6)


def test_a_criterion_of_order_without_noise_eigenvalues_is_refused(scenes: Scene):
    with pytest.raises(ValueError, match=r"got estimator\.order = mdl for a covariance of rank 1, expected gap"):
        risjax.localise(*scenes.observation, method="music", physics=PHYSICS, estimator={"order": "mdl"})
