"""The simulator: one scene, drawn on the device.

y_l = H diag(c_l) (x_l + clutter) + n_l with x_l = sum_k a_k s_kl g lambda / (4 pi r_k), s_kl a symbol of the source's
power, g the scene's gain and a_k the unit-norm steering vector. The noise has the variance that gives the drawn SNR
exactly against the scene's own mean |H diag(c_l) x_l|^2: clutter counts neither as signal nor as noise.

H, c and a above are the real ones. The observation holds H and c as the receiver believes them to be, which differ
when an impairment is on that it has not calibrated.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float, Key

from risjax.config import PhysicsConfig
from risjax.physics.array import amplitude_norm, steering
from risjax.physics.channel import complex_normal, draw_channel, scale
from risjax.physics.codebook import draw_codes
from risjax.physics.impairments import Geometry, draw_clutter, draw_geometry, estimate_channel, impair_codes
from risjax.physics.placement import draw_positions
from risjax.types import Observation, Scene, Sources, Truth


def draw_sources(key: Key[Array, ""], physics: PhysicsConfig, dtype: DTypeLike = jnp.float32) -> Sources:
    """K sources, uniform in [least, most], in the first K of K_max slots.

    For ``constant`` symbols the amplitude is complex and holds the symbol; for ``per_snapshot`` it is the root of the
    expected power.
    """
    scene = physics.scene
    law_key, position_key, symbol_key = jax.random.split(key, 3)
    least, most = scene.num_sources
    shape = (scene.max_sources,)
    unit = jax.random.uniform(law_key, (2 + scene.max_sources,), dtype)
    count = least + jnp.floor(unit[0] * (most + 1 - least)).astype(int)
    active = jnp.arange(scene.max_sources) < count
    position = draw_positions(position_key, scene, dtype)
    gain_db = scale(unit[1], scene.gain_db) + scale(unit[2:], scene.power_db)
    amplitude = 10 ** (gain_db / 20) * path_gain(position[:, 2], physics.array.wavelength_m)
    amplitude = amplitude * amplitude_norm(physics.array, position)
    if scene.symbols == "constant":
        amplitude = amplitude * draw_symbols(symbol_key, physics, shape, dtype)
    amplitude = amplitude.astype(jnp.result_type(dtype, jnp.complex64))
    return Sources(jnp.where(active[:, None], position, 0), jnp.where(active, amplitude, 0), active)


def draw_symbols(
    key: Key[Array, ""], physics: PhysicsConfig, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> Complex[Array, "*shape"]:
    """Symbols of unit mean power and uniform phase."""
    symbols = complex_normal(key, shape, dtype)
    if physics.scene.modulus == "unit":
        return jnp.exp(1j * jnp.angle(symbols))
    return symbols


def path_gain(range_m: Float[Array, "*shape"], wavelength_m: float) -> Float[Array, "*shape"]:
    """Free-space amplitude lambda / (4 pi r)."""
    return wavelength_m / (4 * math.pi * range_m)


def sources_steering(
    physics: PhysicsConfig, sources: Sources, geometry: Geometry | None = None
) -> Complex[Array, "N K"]:
    """A, the steering vectors of the active sources as columns; columns of inactive slots are zero."""
    ahead = jnp.asarray([0.0, 0.0, 1.0], sources.position.dtype)  # inactive slots hold r = 0, where no wave exists
    position = jnp.where(sources.active[:, None], sources.position, ahead[None, :])
    if geometry is None or geometry.elements is None:
        vectors = steering(physics.array, position)
    else:
        scale = jnp.ones(3, position.dtype).at[2].set(geometry.range_scale)
        vectors = steering(physics.array, position * scale[None, :], elements=geometry.elements)
    return jnp.where(sources.active[:, None], vectors, 0).T


def label_factor(matrix: Complex[Array, "N K"], amplitude: Complex[Array, " K"]) -> Complex[Array, "N K"]:
    """B with B B^H = sum_k p_k a_k a_k^H at trace N, p_k = |amplitude_k|^2; zero for no power at all."""
    modulus = jnp.abs(amplitude)
    peak = jnp.max(modulus)
    relative = modulus / jnp.where(peak > 0, peak, 1)  # a scale-free sum: amplitudes of 1e-25 would square to zero
    total = jnp.sum(relative**2)
    return matrix * (relative * jnp.sqrt(matrix.shape[0] / jnp.where(total > 0, total, 1)))[None, :]


def _fields(key: Key[Array, ""], physics: PhysicsConfig, matrix: Array, sources: Sources) -> Complex[Array, "L N"]:
    """x_l, with L = 1 where all snapshots share it."""
    amplitude = sources.amplitude[None, :]
    if physics.scene.symbols == "per_snapshot":
        shape = (physics.codebook.num_snapshots, physics.scene.max_sources)
        amplitude = amplitude * draw_symbols(key, physics, shape, sources.position.dtype)
    return jnp.matmul(amplitude, matrix.T, precision="highest")


def draw_scene(key: Key[Array, ""], physics: PhysicsConfig, dtype: DTypeLike = jnp.float32) -> Scene:
    """One scene; batch by vmap over keys, with ``physics`` static under jit.

    Args:
        key: the scene's own key; the same key gives the same scene.
        physics: the measurement model and the law of the sources.
        dtype: real dtype, float32 or (with x64 enabled) float64.
    """
    source_key, channel_key, snr_key, noise_key, code_key, impairment_key, symbol_key = jax.random.split(key, 7)
    impairments = physics.impairments
    sources = draw_sources(source_key, physics, dtype)
    channel = draw_channel(channel_key, physics.channel, physics.array, dtype)
    nominal = draw_codes(code_key, physics.codebook, physics.array, channel.dtype)
    applied, believed = impair_codes(impairment_key, impairments, nominal)
    matrix = sources_steering(physics, sources, draw_geometry(impairment_key, physics, dtype))
    fields = _fields(symbol_key, physics, matrix, sources)

    def snapshots_of(fields: Array) -> Array:
        return jnp.matmul(applied * fields, channel.T, precision="highest")

    clean = snapshots_of(fields)
    snr_db = scale(jax.random.uniform(snr_key, (), dtype), physics.scene.snr_db)
    noise_variance = jnp.mean(jnp.abs(clean) ** 2) * 10 ** (-snr_db / 10)
    snapshots = clean + jnp.sqrt(noise_variance) * complex_normal(noise_key, clean.shape, dtype)
    if impairments.clutter_db is not None:
        clutter = draw_clutter(impairment_key, physics, jnp.mean(jnp.abs(fields) ** 2), dtype)
        snapshots = snapshots + snapshots_of(clutter[None, :])
    truth = Truth(sources, snr_db, noise_variance, label_factor(matrix, sources.amplitude))
    return Scene(Observation(snapshots, estimate_channel(impairment_key, impairments, channel), believed), truth)
