"""The manifold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ArrayConfig
from risjax.physics.array import element_positions, steering


@pytest.mark.parametrize("wavefront", ["spherical", "fresnel", "paraxial"])
def test_steering_has_unit_norm_under_jit_and_vmap(wavefront):
    array = ArrayConfig(wavefront=wavefront)
    position = jnp.array([[0.3, -0.2, 2.0], [-0.9, 0.4, 0.6]])
    vectors = jax.jit(jax.vmap(lambda p: steering(array, p)))(position)
    np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=-1), 1.0, rtol=1e-5)
    assert vectors.dtype == jnp.complex64


def test_elements_are_centred_and_horizontal_is_fastest():
    elements = element_positions(ArrayConfig(num_horizontal=3, num_vertical=2, spacing_m=0.1))
    np.testing.assert_allclose(elements.mean(0), 0.0, atol=1e-15)
    np.testing.assert_allclose(elements[1] - elements[0], [0.1, 0.0])
