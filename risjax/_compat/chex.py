"""chex: compile what checkify makes of a function, and forget which functions still wait (chex 0.1.92).

``chex.chexify`` leaves the function that checkify makes of a jitted one unjitted, and so traces it again at every call:
9 ms of Python for a training step, more than the step itself takes on a GPU. It has no option for this.

At exit chex warns that assertions were not inspected whenever any function was chexified, since it never empties its
list of functions. There is no public way to empty it.
"""

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar
from unittest import mock

import chex
import jax
from chex._src import asserts_internal
from jax.experimental import checkify

P = ParamSpec("P")
T = TypeVar("T")


def chexify_compiled(function: Callable[P, T], compiler_options: Mapping[str, bool | int]) -> Callable[P, T]:
    """Return ``chex.chexify(function, async_check=True)`` with the checkified function compiled."""
    original = checkify.checkify

    def compiled(*args: Any, **kwargs: Any) -> Any:
        return jax.jit(original(*args, **kwargs), compiler_options=dict(compiler_options))

    with mock.patch.object(checkify, "checkify", compiled):
        return chex.chexify(function, async_check=True)


def forget_chexified() -> None:
    """Empty chex's list of the functions whose assertions it waits for."""
    asserts_internal.CHEXIFY_STORAGE.wait_fns.clear()
