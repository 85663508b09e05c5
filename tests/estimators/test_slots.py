"""From a geometry head's slots to sources."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import EstimatorConfig, PhysicsConfig, SceneConfig
from risjax.estimators.slots import from_share, sources_in_slots, to_share
from risjax.spectral.grid import field_of_view
from risjax.types import Slots

PHYSICS = PhysicsConfig(scene=SceneConfig(max_sources=3, num_sources=(1, 3)))
FIELD = field_of_view(PHYSICS)


@pytest.mark.parametrize("shape", [(3,), (7, 3), (4, 7, 3)])
def test_shares_and_positions_are_inverse_and_stay_inside(shape):
    share = jnp.asarray(np.random.default_rng(0).uniform(size=shape), jnp.float32)
    position = jax.jit(lambda q: from_share(q, FIELD))(share)
    np.testing.assert_allclose(jax.jit(lambda x: to_share(x, FIELD))(position), share, atol=2e-6)
    scene = PHYSICS.scene
    for values, ends in zip(
        np.moveaxis(np.asarray(position), -1, 0),
        (np.radians(scene.azimuth_deg), np.radians(scene.elevation_deg), scene.range_m),
        strict=True,
    ):
        assert values.min() >= ends[0] - 1e-5
        assert values.max() <= ends[1] + 1e-5


def test_a_coordinate_that_never_changes_is_half_its_interval():
    scene = PHYSICS.scene.model_copy(update={"range_m": (2.0, 2.0)})
    field = field_of_view(PHYSICS.model_copy(update={"scene": scene}))
    position = jnp.asarray([0.3, 0.1, 2.0], jnp.float32)
    share = to_share(position, field)
    assert float(share[2]) == 0.5
    np.testing.assert_allclose(from_share(share.at[2].set(0.9), field), position, rtol=1e-5)


def estimates(existence, place, least=0.45):
    estimator = EstimatorConfig.model_validate({"posterior": {"existence": least}})
    return jax.jit(lambda slots: sources_in_slots(slots, PHYSICS, estimator))(
        Slots(jnp.asarray(existence, jnp.float32), jnp.asarray(place, jnp.float32))
    )


def test_likely_slots_are_sources_likeliest_first_and_no_more_than_there_can_be():
    place = np.random.default_rng(1).normal(size=(5, 3))
    found = estimates([-3.0, 0.5, 2.0, 0.1, 1.0], place)
    assert found.active.tolist() == [True, True, True]
    np.testing.assert_allclose(found.existence, 1 / (1 + np.exp([-2.0, -1.0, -0.5])), rtol=1e-6)
    expected = from_share(jax.nn.sigmoid(jnp.asarray(place[[2, 4, 1]], jnp.float32)), FIELD)
    np.testing.assert_allclose(found.position, expected, rtol=1e-6)
    assert np.isinf(found.std).all()
    few = estimates([-3.0, 0.5, 2.0, 0.1, 1.0], place, least=0.7)
    assert few.active.tolist() == [True, True, False]
    np.testing.assert_array_equal(few.position[2], 0.0)
    assert float(few.existence[2]) == 0.0


def test_a_scene_that_is_not_finite_is_empty():
    place = np.zeros((5, 3))
    place[3, 1] = np.nan
    for found in (estimates(np.ones(5), place), estimates([1, np.nan, 1, 1, 1], np.zeros((5, 3)))):
        assert not found.active.any()
        assert np.isfinite(found.position).all()
