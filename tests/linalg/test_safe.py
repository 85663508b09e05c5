"""Value and gradient at zero and at the ends of the exponent range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import safe_angle, safe_log, safe_norm, safe_sqrt
from tests.linalg.reference import TOLERANCE, assert_transforms_agree, random_array

TINY = float(jnp.finfo(jnp.float32).tiny)


@pytest.mark.parametrize(
    ("function", "at", "value", "slope"),
    [
        (safe_sqrt, 4.0, 2.0, 0.25),
        (safe_sqrt, 0.0, 0.0, 0.0),
        (safe_sqrt, -1.0, 0.0, 0.0),
        (safe_log, 2.0, np.log(2.0), 0.5),
        (safe_log, 0.0, np.log(TINY), 0.0),
        (safe_log, -1.0, np.log(TINY), 0.0),
        (lambda x: safe_log(x, floor=0.5), 0.1, np.log(0.5), 0.0),
        (safe_sqrt, np.nan, np.nan, np.nan),
        (safe_log, np.nan, np.nan, np.nan),
        (safe_norm, np.nan, np.nan, np.nan),
    ],
)
def test_value_and_slope(function, at, value, slope):
    got = jax.value_and_grad(function)(jnp.asarray(at, jnp.float32))
    np.testing.assert_allclose(got, (value, slope), rtol=1e-6)
    assert {leaf.dtype for leaf in got} == {jnp.dtype("float32")}


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_transforms_agree(dtype):
    batch = random_array(0, (3, 4, 2), dtype)
    batch[1, 2] = 0.0
    weight = jnp.asarray(random_array(1, (4,), "float64").astype(jnp.finfo(dtype).dtype))
    assert_transforms_agree(lambda x: jnp.sum(weight * safe_norm(x, axis=-1)), batch, TOLERANCE[dtype])
    assert_transforms_agree(lambda x: jnp.sum(weight[:, None] * safe_angle(x)), batch, TOLERANCE[dtype])


def test_norm_matches_numpy_over_any_axis():
    x = random_array(0, (3, 4, 2))
    for axis in (None, 0, -1, (0, 2)):
        for keepdims in (False, True):
            norm = safe_norm(jnp.asarray(x), axis=axis, keepdims=keepdims)
            expected = np.sqrt(np.sum(np.abs(x) ** 2, axis=axis, keepdims=keepdims))
            np.testing.assert_allclose(norm, expected, rtol=1e-12)
            assert norm.shape == expected.shape


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-20, 1.0, 1e20, 1e37])
def test_norm_neither_overflows_nor_underflows(scale):
    x = jnp.asarray([3.0, 4.0], jnp.float32) * jnp.float32(scale)
    value, gradient = jax.value_and_grad(safe_norm)(x)
    np.testing.assert_allclose(value, np.float32(5.0) * np.float32(scale), rtol=1e-5)
    np.testing.assert_allclose(gradient, [0.6, 0.8] if scale else [0.0, 0.0], rtol=1e-5)


def test_angle_at_zero_and_around_the_circle():
    z = jnp.asarray([0.0, 1.0, 1j, -1.0, -1j], jnp.complex64)
    np.testing.assert_allclose(safe_angle(z), [0.0, 0.0, np.pi / 2, np.pi, -np.pi / 2], rtol=1e-6)
    gradient = jax.grad(lambda z: jnp.sum(safe_angle(z)))(z)
    assert jnp.isfinite(gradient).all()
    assert gradient[0] == 0.0


@pytest.mark.parametrize("function", [safe_sqrt, safe_log, safe_norm, safe_angle])
def test_half_precision_is_refused(function):
    with pytest.raises(ValueError, match="Upcast"):
        function(jnp.ones(2, jnp.float16))
