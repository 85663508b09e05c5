"""Assertions inside jitted functions raise, without additional tracing."""

import math

import chex
import jax
import jax.numpy as jnp
import pytest

from risjax.checks import check_finite, chexified, drop_checks, wait_for_checks


@pytest.fixture
def checked():
    @jax.jit
    def function(tree):
        check_finite(tree, name="tree")
        return jax.tree.map(lambda leaf: 2 * leaf, tree)

    return chexified(function)


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.complex64])
def test_a_value_that_is_not_finite_raises_and_names_the_tree(checked, value, dtype):
    checked({"good": jnp.ones(2), "bad": jnp.asarray([1.0, value], dtype), "count": jnp.arange(3)})
    with pytest.raises(AssertionError, match="tree not finite"):
        wait_for_checks()
    drop_checks()
    checked({"good": jnp.ones(2), "bad": jnp.ones(2, dtype), "count": jnp.arange(3)})
    wait_for_checks()


def test_results_are_waited_for_before_chex_starts_its_limit(monkeypatch):
    """chex waits for 30 minutes at most; a process that was stopped meanwhile would end."""
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(jax, "block_until_ready", lambda results: calls.append(results))
        patch.setattr(chex, "block_until_chexify_assertions_complete", lambda: calls.append("chex"))
        wait_for_checks("results")
    assert calls == ["results", "chex"]


def test_a_later_call_is_not_traced_again(checked):
    """chex alone leaves the checkified function unjitted: no trace is reported, and it is traced at every call."""
    traced = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        traced.extend([event] if "trace" in event else [])

    first, *later = [{"x": jnp.full(3, value)} for value in (0.0, 1.0, 2.0)]
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        checked(first)
        assert traced, "the checkified function is not compiled (or jax.monitoring no longer reports traces)"
        traced.clear()
        for tree in later:
            checked(tree)
        wait_for_checks()
        assert not traced
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("shape", [(1000,), (4096,), (65537,), (256, 128)])
@pytest.mark.parametrize("value", [jnp.nan, jnp.inf])
def test_one_entry_of_many_is_found(checked, shape, value):
    """A maximum of magnitudes would be faster, but XLA's loses NaN on CPUs from 4,096 entries on (jaxlib 0.10.2)."""
    size = math.prod(shape)
    for place in (0, size // 2, size - 1):
        checked({"x": jnp.ones(size).at[place].set(value).reshape(shape)})
        with pytest.raises(AssertionError, match="tree not finite"):
            wait_for_checks()
        drop_checks()
