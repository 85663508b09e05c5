"""Checks of shapes, dtypes and finite values with chex, which only this module imports.

Checks of shape, rank and dtype run while a program is traced and cost nothing afterwards. Checks of values run inside
the jitted training step, which `chexified` wraps.
"""

import atexit
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import chex
import jax
import jax.numpy as jnp

from risjax._compat.chex import chexify_compiled, forget_chexified
from risjax.types import Observation

P = ParamSpec("P")
T = TypeVar("T")


def check_observation(observation: Observation) -> tuple[int, int, int]:
    """Check that the shapes of an observation without batch axis agree.

    Returns:
        (L, M, N).

    Raises:
        AssertionError: at trace time; the message contains the array, its shape and what was expected.
    """
    chex.assert_rank(
        list(observation[:3]),
        2,
        custom_message="expected one scene, snapshots [L, M], channel [M, N], codes [L, N]; use jax.vmap for a batch",
    )
    (num_snapshots, num_antennas), num_elements = observation.snapshots.shape, observation.codes.shape[-1]
    chex.assert_shape(
        observation.channel,
        (num_antennas, num_elements),
        custom_message="channel must be [M, N] with M from snapshots [L, M] and N from codes [L, N]",
    )
    chex.assert_shape(
        observation.codes,
        (num_snapshots, num_elements),
        custom_message="codes must be [L, N] with L from snapshots [L, M]",
    )
    elements_m = None if observation.geometry is None else observation.geometry.elements_m
    if elements_m is not None:
        chex.assert_shape(
            elements_m, (num_elements, 2), custom_message="geometry.elements_m must be [N, 2] with N from codes [L, N]"
        )
    return num_snapshots, num_antennas, num_elements


def check_dtype(tree: Any, dtypes: tuple[Any, ...], *, name: str) -> None:
    """Raise at trace time if a leaf of ``tree`` has a dtype outside ``dtypes``; the message contains its path."""
    allowed = tuple(jnp.dtype(dtype) for dtype in dtypes)
    for path, leaf in jax.tree.leaves_with_path(tree):
        if leaf.dtype not in allowed:
            chex.assert_type(
                leaf,
                allowed[0],
                custom_message=f"{name}{jax.tree_util.keystr(path)} is {leaf.dtype}, expected one of "
                f"{', '.join(map(str, allowed))}",
            )


def check_finite(tree: Any, *, name: str) -> None:
    """Assert inside a `chexified` function that every inexact leaf of ``tree`` is finite.

    There is one assertion for the whole tree, because an assertion for each leaf tripled the compile time of a training
    step (37 s instead of 12 s). If it fails, the host determines the leaf.
    """
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
    chex.assert_tree_all_finite(jnp.where(finite, 0.0, jnp.nan), custom_message=f"{name} not finite")


def chexified(function: Callable[P, T], compiler_options: Mapping[str, bool | int] | None = None) -> Callable[P, T]:
    """Return ``function`` with its chex value assertions enabled, asynchronously, compiled with options of XLA.

    Call `wait_for_checks` before using a result; a failed assertion raises there. JAX takes compiler options only for
    the outermost ``jax.jit``, which is the one made here.
    """
    return chexify_compiled(function, compiler_options or {})


def wait_for_checks(results: Any = None) -> None:
    """Wait until the assertions of all chexified calls so far have run.

    Args:
        results: results of the last of these calls, any pytree. They are waited for first, without a limit: chex waits
            for half an hour only, so that a process that is paused for longer would end with a `TimeoutError`.

    Raises:
        AssertionError: the first assertion that failed; the message contains the name of the tree.
    """
    jax.block_until_ready(results)
    chex.block_until_chexify_assertions_complete()


@atexit.register
def _finish() -> None:
    """Waits at exit for what is still under way, so that no failed assertion goes unseen.

    chex warns at every exit that statuses were not inspected, since it never empties the list that it looks at
    (0.1.92); registered after chex's own, this runs before it.
    """
    try:
        chex.block_until_chexify_assertions_complete()
    finally:
        forget_chexified()


def drop_checks() -> None:
    """Discard further failed assertions, after one of them has been handled."""
    while True:
        try:
            chex.block_until_chexify_assertions_complete()
        except AssertionError:
            continue
        return
