"""Small scenes with planted sources, made independently of the simulator."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from risjax.config import ArrayConfig, ChannelConfig, CodebookConfig, PhysicsConfig, SceneConfig
from risjax.linalg import LowRankCovariance
from risjax.physics.array import steering
from risjax.physics.measurement import forward
from risjax.types import Observation


def small_physics(max_sources: int = 3) -> PhysicsConfig:
    """8 x 6 elements, 8 antennas, 10 codes: identifiable, and quick to compile and run."""
    return PhysicsConfig(
        array=ArrayConfig(num_horizontal=8, num_vertical=6),
        channel=ChannelConfig(num_antennas=8),
        codebook=CodebookConfig(kind="dft", num_snapshots=10),
        scene=SceneConfig(max_sources=max_sources, num_sources=(1, max_sources), range_m=(0.5, 5.0)),
    )


def steer(physics: PhysicsConfig, positions: ArrayLike) -> jax.Array:
    """Steering vectors [N, K] of positions [K, 3]."""
    return jax.vmap(lambda position: steering(physics.array, position), out_axes=1)(jnp.asarray(positions))


def observe(
    physics: PhysicsConfig, positions: np.ndarray, amplitudes: np.ndarray, *, noise: float = 0.0, seed: int = 0
) -> Observation:
    """Snapshots through a random channel and random codes, noise of standard deviation ``noise`` an entry."""
    generator = np.random.default_rng(seed)

    def gaussian(*shape: int) -> np.ndarray:
        return (generator.normal(size=shape) + 1j * generator.normal(size=shape)) / np.sqrt(2)

    antennas, elements = physics.channel.num_antennas, physics.array.num_elements
    snapshots = physics.codebook.num_snapshots
    kind = np.complex128 if jnp.asarray(positions).dtype == np.float64 else np.complex64  # float32 without x64
    channel = jnp.asarray((gaussian(antennas, elements) / np.sqrt(elements)).astype(kind))
    codes = jnp.asarray(np.exp(2j * np.pi * generator.uniform(size=(snapshots, elements))).astype(kind))
    disturbance = jnp.asarray((noise * gaussian(snapshots, antennas)).astype(kind))
    field = steer(physics, positions) @ jnp.asarray(amplitudes, kind)
    observation = Observation(jnp.zeros((snapshots, antennas), kind), channel, codes)
    return observation._replace(snapshots=forward(observation, field) + disturbance)


def covariance(
    physics: PhysicsConfig, positions: ArrayLike, powers: ArrayLike, loading: float = 1e-3
) -> LowRankCovariance:
    """The incoherent covariance of planted sources at trace N, loaded."""
    factor = steer(physics, positions) * jnp.sqrt(jnp.asarray(powers, jnp.float32))[None, :]
    scale = jnp.sqrt(factor.shape[0] / jnp.sum(jnp.abs(factor) ** 2))
    return LowRankCovariance(factor * scale, jnp.asarray(loading))
