"""The focal loss of the refiner: its targets, its values against NumPy, its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.loss.heatmap import gaussian_targets, heatmap_focal

AXES = [np.linspace(-1, 1, 9), np.linspace(-0.5, 0.5, 5), np.linspace(0.1, 2.0, 3)]
GRID = jnp.asarray(np.stack(np.meshgrid(*AXES, indexing="ij"), axis=-1), jnp.float32)
CELL = jnp.asarray([axis[1] - axis[0] for axis in AXES], jnp.float32)
INSIDE = jnp.ones(GRID.shape[:3], bool).at[0, 0].set(False)


def test_targets_are_one_at_the_nearest_point_of_every_source_and_fall_off_as_a_gaussian():
    sources = jnp.asarray([[0.26, 0.02, 0.2], [-0.7, -0.3, 1.9], [0.0, 0.0, 1.0]])
    targets = np.asarray(gaussian_targets(GRID, sources, jnp.asarray([True, True, False]), CELL))
    assert np.argwhere(targets == 1.0).tolist() == [[1, 1, 2], [5, 2, 0]]
    away = (np.asarray(GRID)[4, 2, 0] - np.asarray(sources[0])) / np.asarray(CELL)
    assert targets[4, 2, 0] == pytest.approx(np.exp(-0.5 * (away**2).sum()), rel=1e-4)
    assert targets[4, 2, 1] < 0.5, "the source of the inactive slot is nowhere"
    none = gaussian_targets(GRID, sources, jnp.zeros(3, bool), CELL)
    np.testing.assert_array_equal(none, 0.0)


def test_values_agree_with_numpy_and_points_outside_have_zero_loss():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, *GRID.shape[:3])).astype(np.float32)
    targets = rng.uniform(0, 0.9, size=logits.shape).astype(np.float32)
    targets[0, 3, 2, 1] = targets[0, 6, 1, 0] = 1.0  # two sources, and none
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    centre = targets == 1
    each = np.where(centre, -((1 - p) ** 2) * np.log(p), -((1 - targets) ** 4) * p**2 * np.log(1 - p))
    expected = np.where(np.asarray(INSIDE)[None] | centre, each, 0).sum((1, 2, 3)) / [2, 1]
    found = heatmap_focal(jnp.asarray(logits), jnp.asarray(targets), INSIDE)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gradients_are_finite_for_any_logit_and_agree_with_differences():
    targets = jnp.zeros((1, *GRID.shape[:3])).at[0, 3, 2, 1].set(1.0).at[0, 3, 2, 2].set(0.6)

    def loss(logits):
        return jnp.sum(heatmap_focal(logits, targets, INSIDE))

    for far in (-1e4, -80.0, 0.0, 80.0, 1e4):
        slope = jax.grad(loss)(jnp.full(targets.shape, far))
        assert np.isfinite(np.asarray(slope)).all()
    logits = jax.random.normal(jax.random.key(0), targets.shape)
    along = jax.random.normal(jax.random.key(1), targets.shape)
    slope = float(jnp.sum(jax.grad(loss)(logits) * along))
    step = 1e-2
    numeric = float(loss(logits + step * along) - loss(logits - step * along)) / (2 * step)
    assert slope == pytest.approx(numeric, rel=2e-3)


def test_half_precision_is_upcast():
    targets = jnp.zeros((1, *GRID.shape[:3]), jnp.bfloat16).at[0, 3, 2, 1].set(1)
    assert heatmap_focal(jnp.zeros(targets.shape, jnp.float16), targets, INSIDE).dtype == jnp.float32
