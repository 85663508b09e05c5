"""Normalisation to trace N over the whole exponent range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import normalise_trace
from risjax.linalg.scale import GRADIENT_FLOOR
from tests.linalg.reference import TOLERANCE, assert_transforms_agree, random_array

SIZE, RANK = 6, 3
WEIGHT = random_array(8, (SIZE, RANK))


def loss(factor):
    weight = jnp.asarray(WEIGHT if jnp.iscomplexobj(factor) else np.real(WEIGHT)).astype(factor.dtype)
    return jnp.sum(jnp.real(weight * normalise_trace(factor)))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_transforms_agree_and_the_trace_is_n(dtype):
    batch = np.stack([(scale * random_array(3, (SIZE, RANK), dtype)).astype(dtype) for scale in (1e-2, 1.0, 1e3)])
    assert_transforms_agree(loss, batch, TOLERANCE[dtype])
    np.testing.assert_allclose(jnp.sum(jnp.abs(normalise_trace(jnp.asarray(batch[0]))) ** 2), SIZE, rtol=1e-5)


@pytest.mark.parametrize("exponent", [*range(-38, 39, 4), 38.47])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_value_and_gradient_are_finite_for_all_bfloat16_magnitudes(exponent, dtype):
    unit = random_array(1, (SIZE, RANK), dtype)
    unit = (unit / np.abs(unit.view(np.float32)).max()).astype(dtype)
    factor = jnp.asarray((unit * np.float32(10.0**exponent)).astype(dtype))
    assert jnp.isfinite(factor).all()
    value, gradient = _value_and_gradient(factor)
    assert jnp.isfinite(value).all()
    assert jnp.isfinite(gradient).all()
    if exponent > -37:  # below, entries are subnormal
        reference = _value_and_gradient(jnp.asarray(unit))
        np.testing.assert_allclose(value, reference[0], rtol=1e-4, atol=1e-5)
        # The gradient scales with 1 / m as far down as the floor, and no further.
        expected = np.asarray(reference[1], complex) / max(10.0**exponent, GRADIENT_FLOOR)
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max() + 1e-37)


def _value_and_gradient(factor):
    """Under vmap: there, and outside jit, XLA divides by multiplying with a reciprocal, which may be subnormal."""
    value, gradient = _batched(factor[None])
    return value[0], gradient[0]


_batched = jax.jit(jax.vmap(lambda factor: (normalise_trace(factor), jax.grad(loss)(factor))))


@pytest.mark.parametrize("entry", [0.0, 1e-45, 1e-40])
def test_zero_and_subnormal_factors_give_zero_and_a_finite_gradient(entry):
    factor = jnp.full((SIZE, RANK), entry, jnp.complex64)
    value, gradient = _value_and_gradient(factor)
    np.testing.assert_array_equal(value, 0.0)
    np.testing.assert_allclose(jnp.abs(gradient), np.sqrt(SIZE) * np.abs(WEIGHT), rtol=1e-5)


def test_one_huge_entry_among_tiny_ones():
    factor = jnp.full((SIZE, RANK), 1e-38, jnp.float32).at[2, 1].set(3.3e38)
    value, gradient = _value_and_gradient(factor)
    assert value[2, 1] == pytest.approx(np.sqrt(SIZE), rel=1e-5)
    assert jnp.isfinite(gradient).all()


def test_the_plain_quotient_is_nan_at_zero():
    def plain(factor):
        return jnp.sum(jnp.real(factor * jnp.sqrt(SIZE / jnp.sum(jnp.abs(factor) ** 2))))

    assert not jnp.isfinite(jax.grad(plain)(jnp.zeros((SIZE, RANK), jnp.float32))).any()
