"""Simulated scenes in memory."""

import operator
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from risjax.config import PhysicsConfig
from risjax.config.io import read_physics
from risjax.data.stream import draw_scenes
from risjax.types import Scene

Physics = PhysicsConfig | str | Mapping[str, Any]
"""A measurement model, the name of a profile, or a dict of settings; see `risjax.config.io.read_physics`."""

_BATCH = 128


def simulate(physics: Physics, num_scenes: int | np.integer, *, key: Key[Array, ""] | int | np.integer) -> Scene:
    """Draw scenes of a measurement model.

    y_l = H diag(c_l) x_l + n_l with x_l = sum_k a(position_k) s_kl, see `risjax.physics.scene`. Scene i depends on the
    key and on i alone, not on the number of scenes.

    Args:
        physics: a `PhysicsConfig`, the name of a profile (``"default"``, ``"original"``), or a dict of settings, such
            as ``{"scene": {"snr_db": [10, 10]}}`` or ``{"base": "original", ...}``.
        num_scenes: S, at least 1.
        key: the seed, an integer, or a key of `jax.random`; the same one gives the same scenes.

    Returns:
        The scenes, as JAX arrays. ``observation`` has ``snapshots`` [S, L, M], ``channel`` [S, M, N] and ``codes``
        [S, L, N], complex64; ``truth`` has ``sources`` (``position`` [S, K, 3] in rad, rad and m; ``amplitude`` [S, K];
        ``active`` [S, K]), ``snr_db`` [S], ``noise_variance`` [S] and ``label_factor`` [S, N, K].

    Raises:
        ConfigError: invalid settings, each with its name.
        TypeError: a number of scenes that is not an integer.
        ValueError: no scenes.

    Example:
        >>> scenes = simulate("default", 3, key=0)
        >>> scenes.observation.snapshots.shape, scenes.truth.num_sources.shape
        ((3, 16, 16), (3,))
    """
    num_scenes = operator.index(num_scenes)
    if num_scenes < 1:
        raise ValueError(f"got num_scenes = {num_scenes}, expected at least 1")
    model = read_physics(physics)
    key = jax.random.key(int(key)) if isinstance(key, int | np.integer) else key
    size = min(_BATCH, 1 << (num_scenes - 1).bit_length())
    batches = [_draw(model, size, key, jnp.asarray(first)) for first in range(0, num_scenes, size)]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:num_scenes], *batches)


@partial(jax.jit, static_argnums=(0, 1))
def _draw(physics: PhysicsConfig, size: int, key: Key[Array, ""], first: Array) -> Scene:
    return draw_scenes(physics, key, first + jnp.arange(size))
