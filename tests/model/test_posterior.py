"""The posterior head: a judgement of candidates that does not depend on their order or on empty slots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ModelConfig
from risjax.model.posterior import build_posterior

HEAD = build_posterior(6, ModelConfig(posterior_width=8, posterior_knots=5))


@pytest.fixture(scope="module")
def case():
    features = jax.random.normal(jax.random.key(0), (3, 4, 6))
    active = jnp.asarray([[1, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    params = HEAD.init(jax.random.key(1), jnp.zeros(6), jnp.ones(6))
    params["range"]["kernel"] = jax.random.normal(jax.random.key(2), params["range"]["kernel"].shape)
    return params, features, active


def test_the_stated_shapes_are_those_of_initial_parameters(case):
    expected = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), case[0])
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), HEAD.shapes) == expected


def test_order_does_not_matter(case):
    params, features, active = case
    order = jnp.asarray([2, 0, 3, 1])
    judged, moved = HEAD.apply(params, features, active), HEAD.apply(params, features[:, order], active[:, order])
    np.testing.assert_allclose(moved.existence, judged.existence[:, order], atol=1e-5)
    np.testing.assert_allclose(moved.log_range, judged.log_range[:, order], atol=1e-5)


def test_empty_slots_do_not_change_the_output(case):
    params, features, active = case
    judged = HEAD.apply(params, features, active)
    other = HEAD.apply(params, jnp.where(active[..., None], features, 99.0), active)
    np.testing.assert_allclose(other.existence[active], judged.existence[active], atol=1e-5)
    assert np.isfinite(np.asarray(judged.existence)).all()


def test_the_other_candidates_of_a_fit_change_the_output(case):
    params, features, active = case
    judged = HEAD.apply(params, features, active)
    other = HEAD.apply(params, features.at[0, 1].add(2.0), active)
    assert abs(float(other.existence[0, 0] - judged.existence[0, 0])) > 1e-3


def test_features_are_standardised_and_the_initial_range_prior_is_uniform():
    params = HEAD.init(jax.random.key(1), jnp.full(6, 5.0), jnp.full(6, 2.0))
    features = 5.0 + 2.0 * jax.random.normal(jax.random.key(0), (1, 4, 6))
    active = jnp.ones((1, 4), bool)
    plain = HEAD.init(jax.random.key(1), jnp.zeros(6), jnp.ones(6))
    judged = HEAD.apply(params, features, active)
    np.testing.assert_allclose(
        judged.existence, HEAD.apply(plain, (features - 5.0) / 2.0, active).existence, rtol=1e-4, atol=1e-5
    )
    assert np.ptp(np.asarray(judged.log_range), axis=-1).max() == 0.0
