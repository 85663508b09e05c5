"""The network behind its functional boundary."""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ArrayConfig, ModelConfig, PrecisionConfig
from risjax.model import Features, Network, Params, build
from risjax.types import PackedComplex

ARRAY = ArrayConfig(num_horizontal=4, num_vertical=4)
MODEL = ModelConfig(width=16, layers=2, heads=2, rank=3)


def some_features(batch: int = 5) -> Features:
    channels = 2 * (1 + len(MODEL.extra_regularisation))
    keys = jax.random.split(jax.random.key(0))
    return Features(jax.random.normal(keys[0], (batch, 16, channels)), jax.random.normal(keys[1], (batch, 2)))


class Made(NamedTuple):
    """A network, its parameters, and its two functions compiled."""

    network: Network
    params: Params
    apply: Any


@functools.cache
def made(compute: Any) -> Made:
    network = build(ARRAY, MODEL, PrecisionConfig(compute=compute))
    return Made(network, jax.jit(network.init)(jax.random.key(1)), jax.jit(network.apply))


@pytest.mark.parametrize("compute", ["bfloat16", "float16", "float32"])
def test_shapes_and_dtypes(compute):
    _, params, apply = made(compute)
    prediction = apply(params, some_features())
    assert isinstance(prediction.factor, PackedComplex)
    chex.assert_shape(list(prediction.factor), (5, 16, 3))
    chex.assert_type(list(prediction.factor), jnp.float32)
    chex.assert_type(jax.tree.leaves(params), jnp.float32)
    assert set(params) == {"encoder", "head"}


def test_the_stated_shapes_are_those_of_initial_parameters():
    network, params, _ = made("float32")
    expected = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), params)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), network.shapes) == expected


@pytest.mark.parametrize("compute", ["bfloat16", "float16", "float32"])
def test_every_product_runs_in_the_compute_dtype(compute):
    network, params, _ = made(compute)
    jaxpr = jax.make_jaxpr(network.apply)(params, some_features())
    kernels = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "dot_general"]
    assert kernels
    assert {str(variable.aval.dtype) for eqn in kernels for variable in eqn.invars} == {compute}


def test_half_precision_agrees_with_float32_within_its_rounding():
    features = some_features()
    outputs = {}
    for compute in ("float32", "bfloat16", "float16"):
        _, params, apply = made(compute)
        outputs[compute] = np.stack(apply(params, features).factor)
    scale = np.abs(outputs["float32"]).max()
    for compute in ("bfloat16", "float16"):
        # A dozen roundings in a row (two blocks and the embeddings), each of half an eps, add up in quadrature.
        tolerance = 12**0.5 * float(jnp.finfo(compute).eps) * scale
        error = np.abs(outputs[compute] - outputs["float32"]).max()
        assert 0 < error < 2 * tolerance


def test_batch_entries_do_not_mix():
    _, params, apply = made("float32")
    features = some_features()
    whole, single = apply(params, features), apply(params, jax.tree.map(lambda leaf: leaf[2:3], features))
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[2:3], whole), single, atol=1e-5)


def test_every_parameter_moves_the_output():
    network, params, _ = made("float32")

    @jax.jit
    @jax.grad
    def slope(params):
        return sum(jnp.sum(leaf**2) for leaf in network.apply(params, some_features()).factor)

    gradient = slope(params)
    dead = [jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(gradient) if not jnp.any(leaf != 0)]
    assert not dead
