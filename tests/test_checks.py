"""The assertions inside jitted functions: they raise, and they cost no tracing."""

import math

import jax
import jax.numpy as jnp
import pytest
from jax._src import checkify as jax_checkify

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


def test_a_later_call_is_not_checkified_again(checked, monkeypatch):
    """chex alone lets checkify trace the whole function anew at every call."""
    made = []
    transform = jax_checkify.checkify_jaxpr
    monkeypatch.setattr(jax_checkify, "checkify_jaxpr", lambda *args: made.append(args) or transform(*args))
    for _ in range(4):
        checked({"x": jnp.ones(3)})
    wait_for_checks()
    assert len(made) == 1


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
