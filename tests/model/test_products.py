"""Sums and products of the network's layers, with the backward passes that are written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from risjax.config.io import load_config
from risjax.experiments.audit import operations, trace_step
from risjax.model.products import linear, plus

RNG = np.random.default_rng(0)
ROUNDING = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-22}


def value_and_gradients(function, weights, *arguments):
    value = function(*arguments)
    pulled = jax.vjp(function, *arguments)[1](weights)
    return value, *pulled


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4)])
def test_value_and_gradient_of_the_layer_are_those_of_flax(shape, use_bias):
    ours = linear(4, 6, use_bias=use_bias, rngs=nnx.Rngs(0))
    theirs = nnx.Linear(4, 6, use_bias=use_bias, rngs=nnx.Rngs(0))
    if use_bias:
        assert ours.bias is not None
        assert theirs.bias is not None
        ours.bias[...] = theirs.bias[...] = jnp.asarray(RNG.normal(size=6), jnp.float32)
    tokens, weights = (jnp.asarray(RNG.normal(size=(*shape[:-1], n)), jnp.float32) for n in (4, 6))

    def run(layer):
        graph, state = nnx.split(layer)
        return value_and_gradients(lambda state, tokens: nnx.merge(graph, state)(tokens), weights, state, tokens)

    for actual, expected in zip(jax.tree.leaves(run(ours)), jax.tree.leaves(run(theirs)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("spread", [(1, 1, 8), (1, 30, 8), (64, 1, 8)])
@pytest.mark.parametrize("dtype", ROUNDING)
def test_the_gradient_of_a_broadcast_bias_is_rounded_once(dtype, spread):
    wide, small, slope = (jnp.asarray(RNG.normal(size=shape), dtype) for shape in ((64, 30, 8), spread, (64, 30, 8)))
    value, to_wide, to_small = jax.jit(lambda *a: value_and_gradients(plus, slope, *a))(wide, small)
    np.testing.assert_array_equal(value, wide + small)
    np.testing.assert_array_equal(to_wide, slope)
    axes = tuple(axis for axis, length in enumerate(spread) if length == 1)
    exact = np.asarray(slope).astype(float).sum(axis=axes, keepdims=True)
    assert to_small.dtype == slope.dtype
    np.testing.assert_allclose(np.asarray(to_small, dtype=float), exact, rtol=ROUNDING[dtype], atol=1e-4)


def test_no_reduction_of_the_network_runs_in_half_precision():
    program = operations(trace_step(load_config("quick.yaml", ["model.layers=1"])))
    half = [op for op in program if op.primitive == "reduce_sum" and "bfloat16" in op.dtypes]
    assert not half, half[0]
