"""Patches of the surface."""

import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ArrayConfig
from risjax.model.patches import from_patches, num_patches, to_patches
from risjax.physics.array import element_positions


@pytest.mark.parametrize(("horizontal", "vertical", "patch"), [(12, 12, 2), (6, 4, 2), (9, 6, 3), (4, 4, 1)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_round_trip(horizontal, vertical, patch, dtype):
    array = ArrayConfig(num_horizontal=horizontal, num_vertical=vertical)
    elements = jnp.arange(2 * array.num_elements * 3).reshape(2, array.num_elements, 3).astype(dtype)
    tokens = to_patches(elements, array, patch)
    assert tokens.shape == (2, num_patches(array, patch), patch**2 * 3)
    assert tokens.dtype == dtype
    np.testing.assert_array_equal(from_patches(tokens, array, patch), elements)


def test_a_patch_holds_neighbours():
    array = ArrayConfig(num_horizontal=6, num_vertical=4)
    places = jnp.asarray(element_positions(array), jnp.float32)
    patches = to_patches(places, array, 2).reshape(-1, 4, 2)
    extent = patches.max(axis=1) - patches.min(axis=1)
    np.testing.assert_allclose(extent, array.spacing_m, rtol=1e-5)


def test_a_patch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"model\.patch = 5 on a surface of 12 x 12"):
        num_patches(ArrayConfig(), 5)
