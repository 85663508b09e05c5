"""Cramér–Rao bounds of simulated scenes."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from risjax.api.scenes import Physics
from risjax.config import ArrayConfig, PhysicsConfig
from risjax.config.io import read_physics
from risjax.physics.crb import CramerRaoBound, crb_in_float64, deterministic_crb, stochastic_crb, widened
from risjax.physics.measurement import forward
from risjax.physics.misspecified_crb import MisspecifiedCrb, misspecified_crb
from risjax.physics.received_arrays import positions_problem
from risjax.physics.scene import sources_steering
from risjax.types import Observation, Scene, Sources

Kind = Literal["deterministic", "stochastic", "misspecified"]
_CRB = {"deterministic": deterministic_crb, "stochastic": stochastic_crb}
_SCENES_PER_BATCH = 64


def crb(
    physics: Physics, scenes: Scene, *, kind: Kind = "deterministic", assumed: Physics | None = None
) -> CramerRaoBound | MisspecifiedCrb:
    """Return the Cramér–Rao bounds on the positions of the sources of one scene, or of S scenes.

    Args:
        physics: measurement model of the scenes: a `PhysicsConfig`, the name of a profile, or a dict of settings.
        scenes: as `risjax.simulate` draws them, or one of them: positions, amplitudes and noise variance of ``truth``,
            channel, codes and geometry of ``observation``; the values of the snapshots are not used.
        kind: ``deterministic`` for constant symbols, ``stochastic`` for Gaussian symbols that change from snapshot to
            snapshot, ``misspecified`` for constant symbols and an estimator whose array differs from the true one.
        assumed: with ``misspecified``, the measurement model whose array the estimator assumes.

    Returns:
        NumPy arrays in float64, with a leading axis S where ``scenes`` has one. ``std`` [S, K, 3] in rad, rad and m;
        inf in empty slots and for parameters without information; and the further fields of
        `risjax.physics.crb.CramerRaoBound`, or of `risjax.physics.misspecified_crb.MisspecifiedCrb`.

    Raises:
        ConfigError: invalid settings.
        TypeError: scenes of another type.
        ValueError: an unknown kind, ``misspecified`` without ``assumed`` or the reverse, another surface, positions in
            other units, or a noise variance that is negative or not finite.

    Example:
        >>> import risjax
        >>> scenes = risjax.simulate("default", 2, key=0)
        >>> risjax.crb("default", scenes).std.shape
        (2, 5, 3)
        >>> paraxial = {"array": {"wavefront": "paraxial"}}
        >>> risjax.crb("default", scenes, kind="misspecified", assumed=paraxial).bias.shape
        (2, 5, 3)

    References:
        P. Stoica, A. Nehorai, "Performance study of conditional and unconditional direction-of-arrival estimation",
        IEEE Transactions on Acoustics, Speech, and Signal Processing 38 (1990), doi:10.1109/29.60109.
    """
    model = read_physics(physics)
    if (kind == "misspecified") != (assumed is not None):
        raise ValueError(
            f"got kind = {kind!r} and assumed = {assumed!r}, expected assumed with misspecified and only with it"
        )
    if kind not in (*_CRB, "misspecified"):
        raise ValueError(f"got kind = {kind!r}, expected deterministic, stochastic or misspecified")
    _check(scenes, model)
    is_batch = np.ndim(scenes.truth.noise_variance) == 1
    scenes = jax.tree.map(np.asarray if is_batch else lambda leaf: np.asarray(leaf)[None], scenes)
    bound = _bound(model, scenes, kind, None if assumed is None else read_physics(assumed).array)
    return bound if is_batch else jax.tree.map(lambda leaf: leaf[0], bound)


def _bound(
    physics: PhysicsConfig, scenes: Scene, kind: Kind, assumed: ArrayConfig | None
) -> CramerRaoBound | MisspecifiedCrb:
    observation, sources, variance = scenes.observation, scenes.truth.sources, scenes.truth.noise_variance
    if assumed is None:
        return crb_in_float64(_CRB[kind], physics.array, observation, sources, variance)
    with jax.enable_x64(True):
        wide = widened((observation, sources, variance))
        return jax.tree.map(np.asarray, _misspecified(physics, assumed, wide))


def _check(scenes: object, model: PhysicsConfig) -> None:
    """Raises TypeError or ValueError as `crb`."""
    if not isinstance(scenes, Scene):
        raise TypeError(
            f"got scenes of type {type(scenes).__name__}, expected a Scene with observation and truth, as "
            "risjax.simulate returns it"
        )
    num_elements, expected = scenes.observation.codes.shape[-1], model.array.num_elements
    if num_elements != expected:
        raise ValueError(
            f"got scenes of N = {num_elements} elements, expected {expected} of physics.array; give the physics of the "
            "scenes"
        )
    sources = scenes.truth.sources
    problem = positions_problem(np.asarray(sources.position)[np.asarray(sources.active)])
    if problem:
        raise ValueError(f"truth {problem}")


@partial(jax.jit, static_argnums=(0, 1))
def _misspecified(
    physics: PhysicsConfig, assumed: ArrayConfig, scenes: tuple[Observation, Sources, Array]
) -> MisspecifiedCrb:
    def bound(scene: tuple[Observation, Sources, Array]) -> MisspecifiedCrb:
        observation, sources, variance = scene
        vectors = sources_steering(physics, sources, observation.geometry)
        mean = forward(observation, jnp.matmul(vectors, sources.amplitude, precision="highest"))
        return misspecified_crb(assumed, observation, mean, sources, variance)

    return jax.lax.map(bound, scenes, batch_size=_SCENES_PER_BATCH)
