"""The assertions inside jitted functions: they raise, and they cost no tracing."""

import jax
import jax.numpy as jnp
import pytest
from jax._src import checkify as jax_checkify

from risjax.checks import all_finite, check_finite, chexified, drop_checks, wait_for_checks


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


def test_a_later_call_is_not_checkified_again(checked, monkeypatch):
    """chex alone lets checkify trace the whole function anew at every call."""
    made = []
    transform = jax_checkify.checkify_jaxpr
    monkeypatch.setattr(jax_checkify, "checkify_jaxpr", lambda *args: made.append(args) or transform(*args))
    for _ in range(4):
        checked({"x": jnp.ones(3)})
    wait_for_checks()
    assert len(made) == 1


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.complex64])
def test_all_finite_finds_one_entry_among_many(bad, dtype):
    healthy = jnp.linspace(-1.0, 1.0, 1000).astype(dtype) * 6e4  # the largest that float16 holds
    assert bool(jax.jit(all_finite)({"x": healthy, "n": jnp.arange(3)}))
    for value in (bad, *((1j * bad, 1 + 1j * bad) if jnp.iscomplexobj(healthy) else ())):
        assert not bool(jax.jit(all_finite)({"n": jnp.arange(3), "x": healthy.at[617].set(value)}))


def test_all_finite_of_what_holds_no_numbers():
    assert bool(all_finite({}))
    assert bool(all_finite({"i": jnp.arange(3), "k": jax.random.key(0), "s": "text", "none": None, "e": jnp.ones(0)}))
