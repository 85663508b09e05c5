"""Arguments of the public functions as users of NumPy pass them."""

import inspect
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import risjax
from risjax.types import Estimates, Scene, Sources
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


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (lambda h: h.real, "dtype float64, expected complex"),
        (lambda h: h.real + 0j, "no imaginary part"),
        (lambda h: 0 * h, "all zero"),
        (lambda h: np.ma.array(h, mask=h.real > 0), "masked"),
    ],
)
def test_codes_are_not_designed_for_an_invalid_channel(channel, message: str):
    valid = np.random.default_rng(0).normal(size=(8, 36, 2)).view(complex)[..., 0]
    with pytest.raises(ValueError, match=message):
        risjax.design_codes(channel(valid), SETTINGS, steps=1)


def _as_estimates(scenes: Scene) -> Estimates:
    sources = scenes.truth.sources
    shape = sources.active.shape
    unknown = jnp.full(shape, jnp.nan)
    return Estimates(sources.position, sources.amplitude, sources.active, jnp.ones((*shape, 3)), unknown, unknown)


def _with_positions(scenes: Scene, scale) -> Sources:
    sources = scenes.truth.sources
    return sources._replace(position=np.asarray(sources.position) * scale)


def test_the_truth_has_a_score_of_one(scenes: Scene):
    assert risjax.score(_as_estimates(scenes), scenes.truth)["f1_3d"]["value"] == 1


@pytest.mark.parametrize(
    ("estimates", "truth", "bound", "error", "message"),
    [
        (
            _as_estimates,
            lambda s: s,
            None,
            TypeError,
            r"truth of type Scene.*: score\(estimates, scenes.truth",
        ),
        (lambda s: s, lambda s: s.truth, None, TypeError, "estimates of type Scene, expected a Localization"),
        (_as_estimates, lambda s: _with_positions(s, [60, 60, 1]), None, ValueError, r"in degrees\?"),
        (_as_estimates, lambda s: _with_positions(s, [1, 1, 1e4]), None, ValueError, r"in millimetres\?"),
        (_as_estimates, lambda s: _with_positions(s, np.nan), None, ValueError, "not finite"),
        (_as_estimates, lambda s: s.truth, np.ones((1, 2, 3)), ValueError, "bound_std of shape"),
        (_as_estimates, lambda s: s.truth, -1.0, ValueError, "standard deviations >= 0"),
    ],
)
def test_a_score_of_other_things_is_refused(scenes: Scene, estimates, truth, bound, error, message: str):
    if isinstance(bound, float):
        bound = np.full(scenes.truth.sources.position.shape, bound)
    with pytest.raises(error, match=message):
        inspect.unwrap(risjax.score)(estimates(scenes), truth(scenes), bound_std=bound)


@pytest.mark.parametrize(
    ("physics", "change", "error", "message"),
    [
        (PHYSICS, lambda s: s.observation, TypeError, "type Observation, expected a Scene"),
        ("default", lambda s: s, ValueError, "expected 144 of physics.array"),
        (
            PHYSICS,
            lambda s: s._replace(truth=s.truth._replace(sources=_with_positions(s, [60, 60, 1]))),
            ValueError,
            r"in degrees\?",
        ),
    ],
)
def test_bounds_of_other_things_are_refused(scenes: Scene, physics, change, error, message: str):
    with pytest.raises(error, match=message):
        inspect.unwrap(risjax.crb)(physics, change(scenes))


def test_a_method_on_an_image_of_the_field_needs_full_rank(scenes: Scene):
    y, channel, codes = jax.tree.map(np.asarray, scenes.observation[:3])
    with pytest.raises(ValueError, match=r"determine .* of the 36 dimensions"):
        risjax.localise(y, channel, np.repeat(codes[:, :1], codes.shape[1], axis=1), method="mvdr", physics=PHYSICS)


def test_a_bound_of_one_scene_is_compared_with_its_errors(scenes: Scene):
    one = jax.tree.map(lambda leaf: leaf[0], scenes)
    found = jax.tree.map(lambda leaf: leaf[0], _as_estimates(scenes))
    bound = risjax.crb(PHYSICS, one).std
    assert bound.ndim == 2
    assert "crb_azimuth_deg" in risjax.score(found, one.truth, bound_std=bound)


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [
        (lambda scenes: scenes, TypeError, "got found of type Scene"),
        (lambda scenes: jax.tree.map(lambda leaf: leaf[0], _as_estimates(scenes)), ValueError, "since y has scenes"),
    ],
)
def test_codes_are_not_adapted_to_other_things_than_the_sources_of_these_scenes(scenes: Scene, found, error, message):
    with pytest.raises(error, match=message):
        inspect.unwrap(risjax.adapt_codes)(*scenes.observation[:3], found(scenes), PHYSICS, num_snapshots=1, steps=1)
