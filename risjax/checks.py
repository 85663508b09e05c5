"""The contracts at the doors between rooms: the package's only importer of chex.

Static checks (shape, rank, dtype) cost nothing after tracing and always run. Value checks run inside
the jitted training step, which `chexified` wraps; elsewhere values are not checked.
"""

import atexit
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from unittest import mock

import chex
import jax
import jax.numpy as jnp
from chex._src import asserts_internal
from jax.experimental import checkify

from risjax.types import Observation

P = ParamSpec("P")
T = TypeVar("T")


def check_observation(observation: Observation) -> tuple[int, int, int]:
    """Checks one (unbatched) observation's shapes against one another.

    Returns:
        (L, M, N).

    Raises:
        AssertionError: naming the array, its shape and what was expected. At trace time.
    """
    chex.assert_rank(
        list(observation[:3]),
        2,
        custom_message="an observation is one scene: snapshots [L, M], channel [M, N], codes [L, N]; vmap over a batch",
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
    """Fails at trace time when a leaf of ``tree`` has a dtype outside ``dtypes``, naming the leaf."""
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
    """Asserts inside a `chexified` function that every inexact leaf of ``tree`` is finite.

    One assertion for the whole tree: one a leaf tripled the time that a training step takes to compile (12 against
    37 s). Which leaf it was is found out by the host when it fails.
    """
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
    chex.assert_tree_all_finite(jnp.where(finite, 0.0, jnp.nan), custom_message=f"{name} not finite")


def chexified(function: Callable[P, T]) -> Callable[P, T]:
    """Lets the chex value assertions inside a jitted ``function`` run, asynchronously.

    Call `wait_for_checks` before trusting a result; a failed assertion raises there.

    chex leaves the function that checkify makes of a jitted one unjitted, and so traces it anew at every call: 9 ms of
    Python for a training step, more than the step itself takes on a GPU (chex 0.1.92). Here it is jitted too.
    """
    checkify_once = checkify.checkify
    with mock.patch.object(checkify, "checkify", lambda *args, **kwargs: jax.jit(checkify_once(*args, **kwargs))):
        return chex.chexify(function, async_check=True)


def wait_for_checks() -> None:
    """Blocks until the assertions of all chexified calls so far have run.

    Raises:
        AssertionError: of the first assertion that failed, naming the tree.
    """
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
        asserts_internal.CHEXIFY_STORAGE.wait_fns.clear()


def drop_checks() -> None:
    """Forgets the failed assertions that are still waiting, once one of them has been dealt with."""
    while True:
        try:
            chex.block_until_chexify_assertions_complete()
        except AssertionError:
            continue
        return
