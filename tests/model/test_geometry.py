"""The geometry head: what it emits, in which precision, and that it is not there unless it is asked for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from risjax.config import ArrayConfig, ModelConfig, PrecisionConfig
from risjax.model import Features, build
from risjax.types import Prediction

ARRAY = ArrayConfig(num_horizontal=4, num_vertical=4)
PLAIN = ModelConfig(width=16, layers=1, heads=2, rank=3)
MODEL = PLAIN.model_copy(update={"geometry_slots": 3})
BATCH, SLOTS = 5, 3
COMPUTE = ("bfloat16", "float16", "float32")


@functools.cache
def features() -> Features:
    keys = jax.random.split(jax.random.key(0))
    return Features(jax.random.normal(keys[0], (BATCH, 16, 4)), jax.random.normal(keys[1], (BATCH, 2)))


@functools.cache
def some_params() -> dict:
    shapes = jax.eval_shape(build(ARRAY, MODEL, PrecisionConfig()).init, jax.random.key(0))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.3, leaf.dtype), shapes)


@functools.cache
def emitted(compute: str) -> Prediction:
    return jax.jit(build(ARRAY, MODEL, PrecisionConfig(compute=compute)).apply)(some_params(), features())


@pytest.mark.parametrize("compute", COMPUTE)
def test_shapes_and_dtypes(compute):
    apply = build(ARRAY, MODEL, PrecisionConfig(compute=compute)).apply
    prediction = jax.eval_shape(apply, some_params(), features())
    assert prediction.slots.existence.shape == (BATCH, SLOTS)
    assert prediction.slots.place.shape == (BATCH, SLOTS, 3)
    assert {leaf.dtype for leaf in jax.tree.leaves((some_params(), prediction))} == {np.dtype("float32")}
    jaxpr = jax.make_jaxpr(apply)(some_params(), features())
    kernels = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "dot_general"]
    assert len(kernels) > 4
    assert {str(variable.aval.dtype) for eqn in kernels for variable in eqn.invars} == {compute}


def test_half_precision_agrees_with_float32_within_its_rounding():
    for half, full in zip(emitted("bfloat16").slots, emitted("float32").slots, strict=True):
        # As many roundings as in tests/model/test_network.py, of half an eps each.
        error = np.abs(half - full).max() / np.abs(full).max()
        assert 0 < error < 2 * 12**0.5 * float(jnp.finfo("bfloat16").eps)


def test_without_slots_nothing_of_it_is_there_and_nothing_else_has_changed():
    assert ModelConfig().geometry_slots == 0
    network = build(ARRAY, PLAIN, PrecisionConfig(compute="float32"))
    params = {"encoder": some_params()["encoder"], "head": {"rows": some_params()["head"]["rows"]}}
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    prediction = jax.jit(network.apply)(params, features())
    assert prediction.slots is None
    np.testing.assert_allclose(prediction.factor.real, emitted("float32").factor.real, atol=1e-5)


def test_slots_are_in_no_order_and_see_one_another():
    network = build(ARRAY, MODEL, PrecisionConfig(compute="float32"))
    params, prediction = some_params(), emitted("float32")

    @jax.jit
    def with_queries(queries):
        head = params["head"]
        geometry = {**head["geometry"], "queries": queries}
        return network.apply({**params, "head": {**head, "geometry": geometry}}, features()).slots

    queries = params["head"]["geometry"]["queries"]
    turned = with_queries(queries[jnp.asarray([2, 0, 1])])
    np.testing.assert_allclose(turned.existence, prediction.slots.existence[:, [2, 0, 1]], atol=1e-5)
    np.testing.assert_allclose(turned.place, prediction.slots.place[:, [2, 0, 1]], atol=1e-5)
    moved = with_queries(queries.at[0].add(1.0))
    assert np.abs(moved.place[:, 1] - prediction.slots.place[:, 1]).min() > 1e-6


def test_every_parameter_moves_the_slots_and_scenes_do_not_mix():
    network = build(ARRAY, MODEL, PrecisionConfig(compute="float32"))

    @jax.jit
    def slope(params, seen):
        def energy(params, seen):
            return sum(jnp.sum(leaf[2] ** 2) for leaf in network.apply(params, seen).slots)

        return jax.grad(energy, argnums=(0, 1))(params, seen)

    by_params, by_features = slope(some_params(), features())
    still = {
        jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(by_params) if not jnp.any(leaf != 0)
    }
    assert still == {"['head']['rows']['bias']", "['head']['rows']['kernel']"}
    seen = np.abs(by_features.elements).sum((1, 2))
    assert (seen > 0).tolist() == [scene == 2 for scene in range(BATCH)]
    assert (np.abs(by_features.elements[2]).sum(1) > 0).all(), "every element of the surface is looked at"


def test_an_encoder_without_tokens_is_refused():
    with pytest.raises(ValidationError, match="geometry_slots must be 0 with encoder = snapshots"):
        ModelConfig(encoder="snapshots", geometry_slots=3)
