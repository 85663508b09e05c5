"""Dtype policy, upcast and loss scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import PrecisionConfig
from risjax.precision import (
    all_finite,
    check_upcast,
    limit_cotangents,
    make_loss_scale,
    make_policy,
    select_tree,
    upcast,
)
from risjax.types import PackedComplex


@pytest.mark.parametrize("half", [jnp.bfloat16, jnp.float16])
def test_upcast_brings_whole_trees_to_full_precision_and_touches_nothing_else(half):
    key = jax.random.key(0)
    tree = {
        "half": jnp.ones(3, half),
        "packed": PackedComplex(jnp.ones(2, half), jnp.zeros(2, half)),
        "packed32": PackedComplex(jnp.ones(2, jnp.float32), jnp.zeros(2, jnp.float32)),
        "full": jnp.ones(2, jnp.complex64),
        "numpy": np.ones(2, np.float16),
        "int": jnp.arange(2),
        "bool": jnp.array([True]),
        "key": key,
        "name": "scene",
        "none": None,
        "float": 0.5,
    }
    out = upcast(tree)
    dtypes = {name: getattr(leaf, "dtype", None) for name, leaf in out.items()}
    assert dtypes["half"] == dtypes["numpy"] == jnp.float32
    assert dtypes["packed"] == dtypes["packed32"] == dtypes["full"] == jnp.complex64
    assert dtypes["int"] == jnp.int32
    assert dtypes["bool"] == jnp.bool_
    assert dtypes["key"] == key.dtype
    assert (out["name"], out["none"], out["float"]) == ("scene", None, 0.5)
    assert out["full"] is tree["full"]
    check_upcast(out, "predictions")


@pytest.mark.parametrize(
    "leaf", [jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float16), PackedComplex(jnp.ones(2), jnp.ones(2))]
)
def test_dtype_check_names_narrow_leaves(leaf):
    with pytest.raises(AssertionError, match="labels"):
        check_upcast({"factor": leaf}, "labels")


def test_upcast_refuses_64_bits_that_jax_would_narrow():
    with pytest.raises(ValueError, match="JAX_ENABLE_X64"):
        upcast(np.ones(2))
    with jax.enable_x64(True):
        assert upcast(np.ones(2)).dtype == np.float64


def test_loss_scale_follows_the_gradients_and_keeps_its_floor_through_tree_maps():
    scale = make_loss_scale(
        PrecisionConfig(compute="float16", initial_loss_scale=4.0, loss_scale_period=2, min_loss_scale=2.0)
    )
    scale = jax.tree.map(lambda leaf: leaf, scale)
    step = jax.jit(lambda s, finite: s.adjust(finite))
    values = []
    for finite in (True, True, False, False, False, True, True):
        scale = step(scale, jnp.array(finite))
        values.append(float(scale.value))
    assert values == [4, 8, 4, 2, 2, 2, 4]
    assert {leaf.dtype for leaf in jax.tree.leaves(scale)} == {jnp.dtype("float32"), jnp.dtype("int32")}


@pytest.mark.parametrize("compute", ["bfloat16", "float32"])
def test_other_dtypes_have_a_scale_that_stays_one(compute):
    scale = make_loss_scale(PrecisionConfig(compute=compute, loss_scale_period=1))
    for finite in (True, False, True):
        scale = scale.adjust(jnp.array(finite))
        assert float(scale.value) == 1.0
    gradient = {"w": jnp.array([0.1, 3.0])}
    np.testing.assert_array_equal(scale.unscale(scale.scale(gradient))["w"], gradient["w"])


def test_policy_casts_each_way_and_refuses_complex_leaves():
    policy = make_policy(PrecisionConfig(compute="float16"))
    tree = {"w": jnp.ones(2), "n": jnp.arange(2), "none": None}
    assert policy.cast_to_compute(tree)["w"].dtype == jnp.float16
    assert policy.cast_to_compute(tree)["n"].dtype == jnp.int32
    assert policy.cast_to_output(policy.cast_to_compute(tree))["w"].dtype == jnp.float32
    with pytest.raises(ValueError, match="complex leaf"):
        policy.cast_to_compute({"x": jnp.ones(2, jnp.complex64)})


def test_all_finite_and_select_tree():
    assert bool(all_finite({}))
    assert bool(all_finite({"i": jnp.arange(3), "k": jax.random.key(0), "s": "text"}))
    assert not bool(all_finite({"z": jnp.array(1j * jnp.nan)}))
    chosen = select_tree(jnp.array(False), {"a": jnp.ones(2)}, {"a": jnp.zeros(2)})
    np.testing.assert_array_equal(chosen["a"], 0.0)


def test_loss_scale_passes_through_lowering_scans_none_maps_and_checkpoints(tmp_path):
    from orbax.checkpoint import v1 as orbax

    scale = make_loss_scale(PrecisionConfig(compute="float16", min_loss_scale=0.25))
    jax.jit(lambda s: s.adjust(jnp.array(True))).lower(scale).compile()
    jax.tree.map(lambda leaf: None, scale)
    scanned, _ = jax.lax.scan(lambda s, finite: (s.adjust(finite), None), scale, jnp.zeros(30, bool))
    assert float(scanned.value) == float(scanned.floor) == 0.25
    orbax.save(tmp_path / "scale", scanned._asdict())
    restored = type(scale)(**orbax.load(tmp_path / "scale", jax.tree.map(jnp.zeros_like, scanned)._asdict()))
    for actual, expected in zip(restored, scanned, strict=True):
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)


def test_the_scale_stops_growing_before_it_overflows():
    scale = make_loss_scale(PrecisionConfig(compute="float16", initial_loss_scale=2.0**127, loss_scale_period=1))
    assert float(scale.adjust(jnp.array(True)).value) == 2.0**127


def test_scaling_happens_in_float32_whatever_the_leaf():
    scale = make_loss_scale(PrecisionConfig(compute="float16"))
    scaled = scale.scale({"loss": jnp.asarray(3.0, jnp.float16)})["loss"]
    assert scaled.dtype == jnp.float32
    assert float(scaled) == 3.0 * 2**15


def test_upcast_and_door_cost_nothing_on_what_is_full_already():
    """No operation at all for full-precision leaves, and one for each packed pair: nothing to measure."""

    def door(tree):
        tree = upcast(tree)
        check_upcast(tree, "predictions")
        return tree

    full = {"a": jnp.ones(3), "b": jnp.ones(2, jnp.complex64), "c": jnp.arange(2)}
    assert jax.make_jaxpr(door)(full).eqns == []
    packed = PackedComplex(jnp.ones(2), jnp.ones(2))
    assert [equation.primitive.name for equation in jax.make_jaxpr(door)(packed).eqns] == ["complex"]


def test_cotangents_return_in_the_leafs_own_dtype():
    packed = PackedComplex(jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.bfloat16))
    gradient = jax.grad(lambda tree: jnp.sum(jnp.abs(upcast(tree)) ** 2))(packed)
    assert gradient.real.dtype == gradient.imag.dtype == jnp.bfloat16
    np.testing.assert_array_equal(gradient.real, 2.0)


@pytest.mark.parametrize("name", ["params", "compute", "output"])
def test_a_64_bit_policy_needs_x64(name):
    with pytest.raises(ValueError, match=f"precision.{name}"):
        make_policy(PrecisionConfig.model_validate({name: "float64"}))
    with jax.enable_x64(True):
        make_policy(PrecisionConfig.model_validate({name: "float64"}))


def test_limited_cotangents_are_shortened_scene_by_scene_and_keep_their_direction():
    packed = PackedComplex(jnp.ones((4, 3)), jnp.ones((4, 3)))
    weights = jnp.asarray([[1.0, -2.0, 0.5], [100.0, -8.0, 4.0], [0.0, 0.0, 0.0], [jnp.inf, 1.0, 1.0]])

    def loss(tree, bound):
        limited = limit_cotangents(tree, bound)
        return jnp.sum(weights * limited.real) + jnp.sum(2 * weights * limited.imag)

    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), limit_cotangents(packed, jnp.float32(10.0)), packed))
    gradient = jax.grad(loss)(packed, jnp.float32(10.0))
    np.testing.assert_allclose(gradient.real[0], weights[0])
    np.testing.assert_allclose(gradient.real[1], weights[1] / 20, rtol=1e-6)  # 200, in the imaginary part, becomes 10
    np.testing.assert_allclose(gradient.imag[1], weights[1] / 10, rtol=1e-6)
    assert jnp.isfinite(gradient.real[:3]).all()
    assert not jnp.isfinite(gradient.real[3]).all()  # an infinite gradient stays non-finite
