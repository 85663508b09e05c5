"""The signal projector through the small problem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import LowRankCovariance, low_rank_signal_projector, signal_overlap, signal_projector
from tests.linalg.reference import (
    FINITE_DIFFERENCE_TOLERANCE,
    TOLERANCE,
    directional_derivative,
    directional_difference,
    random_array,
    random_unitary,
    trace_n,
)

SIZE, RANK = 12, 5
STRENGTHS = np.array([3.0, 2.5, 2.0, 0.7, 0.3])


def covariance(factor, loading=1e-3):
    factor = jnp.asarray(factor)
    return LowRankCovariance(factor, jnp.asarray(loading, jnp.finfo(factor.dtype).dtype))


def healthy(dtype="complex128", seed=0):
    return trace_n(
        np.real(random_array(seed, (SIZE, RANK)) * STRENGTHS).astype(dtype)
        if dtype.startswith("float")
        else (random_array(seed, (SIZE, RANK)) * STRENGTHS).astype(dtype)
    )


def degenerate(name):
    factor = random_array(3, (SIZE, RANK))
    match name:
        case "two equal columns":
            factor[:, 1] = factor[:, 0]
        case "all columns equal":
            factor[:] = factor[:, :1]
        case "zero columns":
            factor[:, 2:] = 0
        case "all zero":
            factor[:] = 0
        case "orthonormal columns":
            factor = np.linalg.qr(factor)[0]
        case "near-far 60 dB":
            factor[:, 1:] *= 1e-3
        case "tiny columns, nearly parallel":
            factor[:, 1:] = 1e-5 * (factor[:, 1:2] + 1e-12 * factor[:, 1:])
        case "weak directions, mixed":  # closer than the Gram matrix can tell apart, in both precisions
            factor = _mixed([1.0, 1e-4, 3e-5, 0.0, 0.0])
        case "one weak direction, mixed":
            factor = _mixed([1.0, 1e-4, 0.0, 0.0, 0.0])
    return trace_n(factor) if factor.any() else factor


def _mixed(singular):
    return (random_unitary(4, SIZE)[:, :RANK] * np.array(singular)) @ random_unitary(5, RANK)


DEGENERATE = {
    "two equal columns": 4,
    "all columns equal": 1,
    "zero columns": 2,
    "all zero": 0,
    "orthonormal columns": 5,
    "near-far 60 dB": 5,
    "tiny columns, nearly parallel": 2,
    "weak directions, mixed": 3,
    "one weak direction, mixed": 2,
}
"""Name to rank; the last row's other columns lie below complex64's rank tolerance."""


@jax.jit
def _low(factor, target, num_sources):
    return jax.value_and_grad(
        lambda f: jnp.real(jnp.vdot(low_rank_signal_projector(covariance(f), num_sources), target))
    )(factor)


@jax.jit
def _dense(factor, target, num_sources):
    def loss(f):
        matrix = jnp.matmul(f, f.conj().T, precision="highest") + 1e-3 * jnp.eye(SIZE, dtype=f.dtype)
        return jnp.real(jnp.vdot(signal_projector(matrix, num_sources), target))

    return jax.value_and_grad(loss)(factor)


@pytest.mark.parametrize("num_sources", [1, 3, 5])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_agrees_with_the_dense_projector(dtype, num_sources):
    factor, label = jnp.asarray(healthy(dtype)), jnp.asarray(healthy(dtype, seed=1))
    target = label @ label.conj().T / SIZE
    value, gradient = _low(factor, target, jnp.asarray(num_sources))
    dense_value, dense_gradient = _dense(factor, target, jnp.asarray(num_sources))
    assert gradient.dtype == jnp.dtype(dtype)
    np.testing.assert_allclose(value, dense_value, rtol=TOLERANCE[dtype])
    # The smallest gap across the cut divides the gradient's rounding errors.
    np.testing.assert_allclose(gradient, dense_gradient, atol=10 * TOLERANCE[dtype] * np.abs(dense_gradient).max())


def test_gradient_is_the_finite_difference():
    factor, direction = healthy(), random_array(7, (SIZE, RANK))
    label = covariance(healthy(seed=1))

    loss = jax.jit(lambda f: signal_overlap(covariance(f), label, 3))
    expected = directional_difference(loss, factor, direction)
    assert directional_derivative(loss, factor, direction) == pytest.approx(expected, rel=FINITE_DIFFERENCE_TOLERANCE)


@pytest.mark.parametrize("scale", [1e-10, 1e-3, 1e3, 1e10])
def test_overlap_and_gradient_obey_the_scaling_law(scale):
    """tr(P(a F) P') = tr(P(F) P'); the derivative by a F is that by F over a, also at a gap of tau across the cut."""
    basis = np.linalg.qr(random_array(3, (SIZE, RANK)))[0]
    factor = basis * np.sqrt(SIZE * np.array([0.5, 0.3, 0.1, 0.1 * (1 - 1e-4), 0.0]))
    label = jnp.asarray(healthy(seed=1))
    _, value, gradient = _projector_and_overlap(jnp.asarray(factor), label, 3)
    _, scaled_value, scaled_gradient = _projector_and_overlap(jnp.asarray(scale * factor), label, 3)
    np.testing.assert_allclose(scaled_value, value, rtol=1e-9)
    np.testing.assert_allclose(scale * scaled_gradient, gradient, atol=1e-6 * np.abs(gradient).max())


@jax.jit
def _projector_and_overlap(factor, label, num_sources):
    value, gradient = jax.value_and_grad(lambda f: signal_overlap(covariance(f), covariance(label), num_sources))(
        factor
    )
    return low_rank_signal_projector(covariance(factor), num_sources), value, gradient


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("num_sources", [2, 5])
def test_degenerate_factors_give_a_projector_and_a_finite_gradient(name, dtype, num_sources):
    factor = jnp.asarray(degenerate(name).astype(dtype))
    projector, value, gradient = _projector_and_overlap(factor, jnp.asarray(healthy(dtype, seed=1)), num_sources)
    rank = min(DEGENERATE[name], num_sources)
    np.testing.assert_allclose(jnp.trace(projector).real, rank, atol=1e-4)
    np.testing.assert_allclose(projector @ projector, projector, atol=1e-4)
    assert 0 <= value <= rank + 1e-4
    assert jnp.isfinite(gradient).all()


def test_overlap_is_the_trace_of_the_product_under_jit_and_vmap():
    factors = np.stack([healthy(seed=s) for s in range(3)])
    counts = jnp.array([1, 3, 5])
    loading = jnp.full(3, 1e-3)
    label = covariance(healthy(seed=9))

    @jax.jit
    @jax.vmap
    def both(factor, loading, count):
        cov = LowRankCovariance(factor, loading)
        product = low_rank_signal_projector(cov, count) @ low_rank_signal_projector(label, count)
        return signal_overlap(cov, label, count), jnp.trace(product).real

    fast, slow = both(jnp.asarray(factors), loading, counts)
    np.testing.assert_allclose(fast, slow, atol=1e-10)


def test_half_precision_is_refused_with_the_correction():
    with pytest.raises(ValueError, match=r"Upcast the whole prediction and label pytrees.*upcast"):
        low_rank_signal_projector(LowRankCovariance(jnp.ones((4, 2), jnp.bfloat16), jnp.float32(0.1)), 1)
