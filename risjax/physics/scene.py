"""The simulator: one scene, drawn on the device.

y_l = H diag(c_l) x + n_l with x = sum_k a_k s_k g lambda / (4 pi r_k), s_k a symbol of unit mean power, g the
scene's gain and a_k the unit-norm steering vector. The noise has the variance that gives the drawn SNR exactly
against the scene's own mean |clean snapshot|^2.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float, Key

from risjax.config import PhysicsConfig, SceneConfig
from risjax.physics.array import amplitude_norm, steering
from risjax.physics.channel import complex_normal, draw_channel, uniform
from risjax.physics.codebook import codes
from risjax.physics.measurement import measure
from risjax.types import Observation, Scene, Sources, Truth


def draw_positions(key: Key[Array, ""], scene: SceneConfig, dtype: DTypeLike = jnp.float32) -> Float[Array, "K 3"]:
    """(azimuth [rad], elevation [rad], range [m]) of K_max sources, each uniform in its interval."""
    azimuth_key, elevation_key, range_key = jax.random.split(key, 3)
    shape = (scene.max_sources,)
    return jnp.stack(
        [
            jnp.deg2rad(uniform(azimuth_key, scene.azimuth_deg, shape, dtype)),
            jnp.deg2rad(uniform(elevation_key, scene.elevation_deg, shape, dtype)),
            uniform(range_key, scene.range_m, shape, dtype),
        ],
        axis=-1,
    )


def draw_sources(key: Key[Array, ""], physics: PhysicsConfig, dtype: DTypeLike = jnp.float32) -> Sources:
    """K sources, uniform in [least, most], in the first K of K_max slots."""
    scene = physics.scene
    count_key, position_key, symbol_key, gain_key = jax.random.split(key, 4)
    least, most = scene.num_sources
    active = jnp.arange(scene.max_sources) < jax.random.randint(count_key, (), least, most + 1)
    position = draw_positions(position_key, scene, dtype)
    symbols = complex_normal(symbol_key, (scene.max_sources,), dtype)
    if scene.modulus == "unit":
        symbols = jnp.exp(1j * jnp.angle(symbols))
    gain = 10 ** (uniform(gain_key, scene.gain_db, (), dtype) / 20)
    amplitude = gain * path_gain(position[:, 2], physics.array.wavelength_m) * symbols
    amplitude = amplitude * amplitude_norm(physics.array, position)
    return Sources(jnp.where(active[:, None], position, 0), jnp.where(active, amplitude, 0), active)


def path_gain(range_m: Float[Array, "*shape"], wavelength_m: float) -> Float[Array, "*shape"]:
    """Free-space amplitude lambda / (4 pi r)."""
    return wavelength_m / (4 * math.pi * range_m)


def sources_steering(physics: PhysicsConfig, sources: Sources) -> Complex[Array, "N K"]:
    """A, the steering vectors of the active sources as columns; columns of inactive slots are zero."""
    ahead = jnp.asarray([0.0, 0.0, 1.0], sources.position.dtype)  # inactive slots hold r = 0, where no wave exists
    position = jnp.where(sources.active[:, None], sources.position, ahead[None, :])
    return jnp.where(sources.active[:, None], steering(physics.array, position), 0).T


def label_factor(matrix: Complex[Array, "N K"], amplitude: Complex[Array, " K"]) -> Complex[Array, "N K"]:
    """B with B B^H = sum_k p_k a_k a_k^H at trace N, p_k = |amplitude_k|^2; zero for no power at all."""
    modulus = jnp.abs(amplitude)
    peak = jnp.max(modulus)
    relative = modulus / jnp.where(peak > 0, peak, 1)  # a scale-free sum: amplitudes of 1e-25 would square to zero
    total = jnp.sum(relative**2)
    return matrix * (relative * jnp.sqrt(matrix.shape[0] / jnp.where(total > 0, total, 1)))[None, :]


def draw_scene(key: Key[Array, ""], physics: PhysicsConfig, dtype: DTypeLike = jnp.float32) -> Scene:
    """One scene; batch by vmap over keys, with ``physics`` static under jit.

    Args:
        key: the scene's own key; the same key gives the same scene.
        physics: the measurement model and the law of the sources.
        dtype: real dtype, float32 or (with x64 enabled) float64.
    """
    source_key, channel_key, snr_key, noise_key = jax.random.split(key, 4)
    sources = draw_sources(source_key, physics, dtype)
    channel = draw_channel(channel_key, physics.channel, physics.array, dtype)
    code_matrix = jnp.asarray(codes(physics.codebook, physics.array), channel.dtype)
    matrix = sources_steering(physics, sources)
    field = jnp.matmul(matrix, sources.amplitude, precision="highest")
    clean = measure(channel, code_matrix, field)
    snr_db = uniform(snr_key, physics.scene.snr_db, (), dtype)
    noise_variance = jnp.mean(jnp.abs(clean) ** 2) * 10 ** (-snr_db / 10)
    snapshots = clean + jnp.sqrt(noise_variance) * complex_normal(noise_key, clean.shape, dtype)
    truth = Truth(sources, snr_db, noise_variance, label_factor(matrix, sources.amplitude))
    return Scene(Observation(snapshots, channel, code_matrix), truth)
