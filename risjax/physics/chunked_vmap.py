"""Work of one scene over a batch of them, in the order that the device's memory likes."""

import os
from collections.abc import Callable
from typing import Any

import jax

from risjax.types import Geometry

CHUNK = 4
"""Scenes a core at a time: a 144 x 144 complex64 matrix each, two or three of them alive, fills a core's cache."""


def over_scenes(function: Callable[..., Any], *scenes: Any) -> Any:
    """``jax.vmap(function)(*scenes)``, on a CPU a few scenes at a time.

    For functions with N x N intermediates. Over a whole batch each operation writes them all to memory before the next
    one reads them; chunk by chunk they stay in the caches, and `back_projection` takes half the time. An
    accelerator gets the whole batch at once.

    Args:
        function: of one scene; gradients pass.
        scenes: pytrees with a leading batch axis.
    """
    batch = jax.tree.leaves(scenes)[0].shape[0]
    chunk = CHUNK * (os.cpu_count() or 1)

    def at_once(*scenes: Any) -> Any:
        return jax.vmap(function)(*scenes)

    def in_chunks(*scenes: Any) -> Any:
        return jax.lax.map(lambda scene: function(*scene), scenes, batch_size=chunk)

    if not isinstance(batch, int) or batch <= chunk:  # (an exported program's batch is a symbol)
        return at_once(*scenes)
    return jax.lax.platform_dependent(*scenes, cpu=in_chunks, default=at_once)


def over_surfaces(function: Callable[..., Any], geometry: Geometry | None, *scenes: Any) -> Any:
    """``jax.vmap(function)(*scenes)``; `over_scenes` where each scene has a surface of its own.

    A search makes its grid's steering vectors anew then, G x N of them a scene.

    Args:
        function: of one scene.
        geometry: of the scenes; None where they share the nominal surface.
        scenes: pytrees with a leading batch axis.
    """
    return jax.vmap(function)(*scenes) if geometry is None else over_scenes(function, *scenes)
