"""MVDR on covariances whose sources are known."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ArrayConfig, EstimatorConfig, PhysicsConfig
from risjax.estimators import localise_mvdr, make_grid
from risjax.linalg import LowRankCovariance
from risjax.physics.array import steering

BEAMWIDTH = 2 / 12
"""Half the null-to-null width of the 12-element axis in direction cosines."""


def planted(physics: PhysicsConfig, positions: list, powers: list, loading: float = 1e-3) -> LowRankCovariance:
    vectors = jax.vmap(lambda position: steering(physics.array, position))(jnp.asarray(positions))
    factor = (vectors * jnp.sqrt(jnp.asarray(powers))[:, None]).T
    return LowRankCovariance(factor * jnp.sqrt(factor.shape[0] / jnp.sum(jnp.abs(factor) ** 2)), jnp.asarray(loading))


@pytest.mark.parametrize(("wavefront", "known_k"), [("spherical", False), ("fresnel", True), ("paraxial", False)])
def test_two_sources_on_the_incoherent_covariance(wavefront: Any, known_k: bool) -> None:
    physics = PhysicsConfig(array=ArrayConfig(wavefront=wavefront))
    truth = np.array([[-0.5, 0.2, 1.3], [0.4, -0.3, 4.0]])
    covariance = planted(physics, truth.tolist(), [1.0, 0.5])
    num_sources = jnp.asarray(2) if known_k else None
    found = jax.jit(lambda c: localise_mvdr(c, physics, EstimatorConfig(), num_sources))(covariance)
    assert np.asarray(found.active).tolist() == [True, True, False, False, False]
    position = np.asarray(found.position)[np.argsort(np.asarray(found.position)[:2, 0])]
    for i, spread in ((0, BEAMWIDTH), (1, BEAMWIDTH)):
        np.testing.assert_allclose(np.sin(position[:, i]), np.sin(truth[:, i]), atol=1e-3 * spread)
    np.testing.assert_allclose(1 / position[:, 2], 1 / truth[:, 2], atol=1e-3)
    assert not np.asarray(found.position)[2:].any()


def test_an_invalid_covariance_gives_no_source_and_does_not_change_the_other_scenes() -> None:
    physics = PhysicsConfig()
    good = planted(physics, [[0.3, 0.1, 2.0]], [1.0])
    factors = [good.factor * scale for scale in (1.0, jnp.nan, jnp.inf, 0.0)]
    batch = LowRankCovariance(jnp.stack(factors), jnp.full(4, good.loading))
    grid = make_grid(physics, EstimatorConfig().grid)
    found = jax.jit(jax.vmap(lambda c: localise_mvdr(c, physics, EstimatorConfig(), grid=grid)))(batch)
    np.testing.assert_allclose(found.position[0, 0], [0.3, 0.1, 2.0], rtol=1e-3)
    assert np.isfinite(np.asarray(found.position)).all()
    assert not np.asarray(found.active[1:3]).any()
