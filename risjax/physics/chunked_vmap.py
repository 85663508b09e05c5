"""vmap over scenes in chunks that fit into the caches of a CPU."""

import os
from collections.abc import Callable
from typing import Any

import jax

from risjax.types import Geometry

CHUNK = 4
"""Scenes for each core at a time: two or three 144 x 144 complex64 matrices for each of them fill its cache."""


def over_scenes(function: Callable[..., Any], *scenes: Any) -> Any:
    """``jax.vmap(function)(*scenes)``, on a CPU a few scenes at a time.

    For functions with N x N intermediates. Over a whole batch, each operation writes all of them to memory before the
    next one reads them. In chunks they stay in the caches, and `back_projection` takes half the time. On an
    accelerator the whole batch is one chunk.

    Args:
        function: function of one scene; may be differentiated.
        scenes: pytrees with a leading batch axis.
    """
    batch = jax.tree.leaves(scenes)[0].shape[0]
    chunk = CHUNK * (os.cpu_count() or 1)

    def at_once(*scenes: Any) -> Any:
        return jax.vmap(function)(*scenes)

    def in_chunks(*scenes: Any) -> Any:
        return jax.lax.map(lambda scene: function(*scene), scenes, batch_size=chunk)

    if not isinstance(batch, int) or batch <= chunk:  # the batch of an exported program is symbolic
        return at_once(*scenes)
    return jax.lax.platform_dependent(*scenes, cpu=in_chunks, default=at_once)


def over_surfaces(function: Callable[..., Any], geometry: Geometry | None, *scenes: Any) -> Any:
    """``jax.vmap(function)(*scenes)``, or `over_scenes` if each scene has its own geometry.

    With its own geometry, each scene needs its own G x N steering vectors of the search grid.

    Args:
        function: function of one scene.
        geometry: geometry of the scenes; None if all have the nominal surface.
        scenes: pytrees with a leading batch axis.
    """
    return jax.vmap(function)(*scenes) if geometry is None else over_scenes(function, *scenes)
