"""Hypothesis draws any finite bfloat16 prediction: value and gradient of every projector route must be finite."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from risjax.linalg import (
    LowRankCovariance,
    inverse_quadratic_form,
    log_determinant,
    normalise_trace,
    signal_overlap,
    signal_projector,
    soft_signal_projector,
)
from tests.linalg.reference import random_array, trace_n

SIZE, RANK = 6, 4
LABEL = trace_n(random_array(0, (SIZE, 3)).astype(np.complex64))

FINITE_BITS = st.integers(0, 2**16 - 1).filter(lambda bits: (bits >> 7) & 0xFF != 0xFF)
"""Bit patterns of every bfloat16 but infinities and NaN: subnormal, tiny, huge, signed zeros."""

TELLING = st.sampled_from([0x0000, 0x8000, 0x0001, 0x0080, 0x3F80, 0xBF80, 0x3F81, 0x7F7F, 0xFF7F])
"""0, -0, the smallest numbers, 1, -1, the next to 1, the largest: repeated, they make the degenerate matrices."""


@jax.jit
def everything(parts, num_sources, loading):
    probability = jnp.full(4, 0.25, jnp.float32)

    def loss(parts):
        factor = normalise_trace(jax.lax.complex(parts[0], parts[1]))
        cov = LowRankCovariance(factor, loading)
        label = LowRankCovariance(jnp.asarray(LABEL), loading)
        matrix = jnp.matmul(factor, factor.conj().T, precision="highest") + loading * jnp.eye(SIZE, dtype=jnp.complex64)
        goal = jnp.matmul(LABEL, LABEL.conj().T, precision="highest")
        return jnp.stack(
            [
                signal_overlap(cov, label, num_sources),
                jnp.real(jnp.vdot(goal, signal_projector(matrix, num_sources))),
                jnp.real(jnp.vdot(goal, soft_signal_projector(matrix, probability))),
                jnp.sum(inverse_quadratic_form(cov, jnp.asarray(LABEL).T)),
                log_determinant(cov),
            ]
        )

    return loss(parts), jax.jacrev(loss)(parts)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    bits=arrays(np.uint16, (2, SIZE, RANK), elements=FINITE_BITS | TELLING, fill=TELLING),
    num_sources=st.integers(0, SIZE),
    loading=st.sampled_from([1e-4, 1e-2, 1.0]),
)
def test_every_finite_prediction_has_a_finite_value_and_gradient(bits, num_sources, loading):
    parts = jnp.asarray(bits.view(ml_dtypes.bfloat16).astype(np.float32))
    values, gradients = everything(parts, jnp.asarray(num_sources, jnp.int32), jnp.asarray(loading, jnp.float32))
    assert jnp.isfinite(values).all()
    assert jnp.isfinite(gradients).all()
    assert -1e-4 <= values[0] <= min(num_sources, RANK) + 1e-3
