"""Simulator of scenes.

y_l = H diag(c_l) (x_l + clutter) + n_l with x_l = sum_k a_k s_kl g lambda / (4 pi r_k), s_kl a symbol of the source's
power, g the scene's gain and a_k the unit-norm steering vector. The noise variance is the scene's signal power over the
drawn SNR. By ``scene.snr_reference`` that power is the mean |H diag(c_l) x_l|^2 of the codes in use (``received``) or
the mean over codes of independent uniform phases (``transmitted``, `transmitted_power`). Clutter counts neither as
signal nor as noise.

H, c and a above are the true ones. The observation contains H, c and the geometry (if any of it was measured) that the
receiver assumes. They differ from the true ones by the impairments that are not calibrated.
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float, Key

from risjax.config import PhysicsConfig, SceneConfig
from risjax.physics.array import amplitude_norm, steering
from risjax.physics.channel import NUM_UNIFORM, ChannelDraws, draw_channel
from risjax.physics.codebook import draw_codes
from risjax.physics.distributions import complex_normal, draw_snr_db, scale
from risjax.physics.impairments import draw_clutter, draw_geometry, estimate_channel, impair_codes
from risjax.physics.placement import num_candidates, place
from risjax.types import Geometry, Observation, Scene, Sources, Truth


class Draws(NamedTuple):
    """Random numbers of a scene without impairments.

    Attributes:
        channel_law: uniform on [0, 1), for `draw_channel`, [U].
        snr: uniform on [0, 1).
        source_law: uniform on [0, 1): number of sources, gain of the scene, power of each source, [2 + K].
        places: uniform on [0, 1), for `place`, [K, candidates, 3].
        scattered: unit circular Gaussian, [M, N].
        noise: unit circular Gaussian, [L, M].
        symbols: unit circular Gaussian, [1, K] for ``constant`` symbols and [L, K] for ``per_snapshot``.
    """

    channel_law: Float[Array, " U"]
    snr: Float[Array, ""]
    source_law: Float[Array, " S"]
    places: Float[Array, "K candidates 3"]
    scattered: Complex[Array, "M N"]
    noise: Complex[Array, "L M"]
    symbols: Complex[Array, "P K"]


@runtime_checkable
class DrawScene(Protocol):
    """A simulator of scenes."""

    def __call__(self, key: Key[Array, ""], physics: PhysicsConfig, dtype: DTypeLike = jnp.float32, /) -> Scene:
        """Draw a scene; batched by vmap over keys, with ``physics`` static under jit.

        Args:
            key: key of the scene; the same key gives the same scene.
            physics: measurement model; the settings of the simulator are ``physics.<its name>``.
            dtype: real dtype, float32 or (with x64 enabled) float64.
        """
        ...


def draw_numbers(
    uniform_key: Key[Array, ""], normal_key: Key[Array, ""], physics: PhysicsConfig, dtype: DTypeLike = jnp.float32
) -> Draws:
    """Random numbers of a scene, in two calls of the generator."""
    antennas, elements = physics.channel.num_antennas, physics.array.num_elements
    snapshots, slots = physics.codebook.num_snapshots, physics.scene.max_sources
    symbols = snapshots if physics.scene.symbols == "per_snapshot" else 1
    # Groups of fixed size come first, so that a distribution that needs more numbers does not shift the others.
    uniform_shapes = [(NUM_UNIFORM,), (), (2 + slots,), (slots, num_candidates(physics.scene), 3)]
    normal_shapes = [(antennas, elements), (snapshots, antennas), (symbols, slots)]
    unit = jax.random.uniform(uniform_key, (sum(map(math.prod, uniform_shapes)),), dtype)
    normal = complex_normal(normal_key, (sum(map(math.prod, normal_shapes)),), dtype)
    return Draws(*_cut(unit, uniform_shapes), *_cut(normal, normal_shapes))


def _cut(numbers: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1].tolist()
    return [part.reshape(shape) for part, shape in zip(jnp.split(numbers, ends), shapes, strict=True)]


def make_sources(draws: Draws, physics: PhysicsConfig) -> Sources:
    """Sources in the first K of K_max slots, K uniform in [least, most].

    For ``constant`` symbols the amplitude is complex and includes the symbol; for ``per_snapshot`` it is the root of
    the expected power.
    """
    scene, law = physics.scene, draws.source_law
    least, most = scene.num_sources
    count = least + jnp.floor(law[0] * (most + 1 - least)).astype(int)
    active = jnp.arange(scene.max_sources) < count
    position = place(draws.places, scene)
    gain_db = scale(law[1], scene.gain_db) + scale(law[2:], scene.power_db)
    amplitude = 10 ** (gain_db / 20) * path_gain(position[:, 2], physics.array.wavelength_m)
    amplitude = amplitude * amplitude_norm(physics.array, position)
    if scene.symbols == "constant":
        amplitude = amplitude * make_symbols(draws.symbols, scene)[0]
    amplitude = amplitude.astype(draws.symbols.dtype)
    return Sources(jnp.where(active[:, None], position, 0), jnp.where(active, amplitude, 0), active)


def make_symbols(normal: Complex[Array, "P K"], scene: SceneConfig) -> Complex[Array, "P K"]:
    """Symbols of unit mean power and uniform phase."""
    return jnp.exp(1j * jnp.angle(normal)) if scene.modulus == "unit" else normal


def path_gain(range_m: Float[Array, "*shape"], wavelength_m: float) -> Float[Array, "*shape"]:
    """Free-space amplitude lambda / (4 pi r)."""
    return wavelength_m / (4 * math.pi * range_m)


def sources_steering(
    physics: PhysicsConfig, sources: Sources, geometry: Geometry | None = None
) -> Complex[Array, "N K"]:
    """A, with the steering vectors of the active sources as columns and zero columns for inactive slots."""
    ahead = jnp.asarray([0.0, 0.0, 1.0], sources.position.dtype)  # inactive slots hold r = 0, outside the domain
    position = jnp.where(sources.active[:, None], sources.position, ahead[None, :])
    return jnp.where(sources.active[:, None], steering(physics.array, position, geometry), 0).T


def label_factor(matrix: Complex[Array, "N K"], amplitude: Complex[Array, " K"]) -> Complex[Array, "N K"]:
    """B with B B^H = sum_k p_k a_k a_k^H, p_k = |amplitude_k|^2, scaled to trace N; zero without power."""
    modulus = jnp.abs(amplitude)
    peak = jnp.max(modulus)
    relative = modulus / jnp.where(peak > 0, peak, 1)  # relative to the largest: squares of 1e-25 would be zero
    total = jnp.sum(relative**2)
    return matrix * (relative * jnp.sqrt(matrix.shape[0] / jnp.where(total > 0, total, 1)))[None, :]


def _fields(draws: Draws, physics: PhysicsConfig, matrix: Array, sources: Sources) -> Complex[Array, "L N"]:
    """x_l, [L, N], with L = 1 if all snapshots have the same field."""
    amplitude = sources.amplitude[None, :]
    if physics.scene.symbols == "per_snapshot":
        amplitude = amplitude * make_symbols(draws.symbols, physics.scene)
    return jnp.matmul(amplitude, matrix.T, precision="highest")


def transmitted_power(channel: Complex[Array, "M N"], field: Complex[Array, "*shape N"]) -> Float[Array, "*shape"]:
    """sum_mn |H_mn|^2 |x_n|^2 / M, the mean power at an antenna over codes of independent uniform phases.

    E|h^T diag(c) x|^2 of such codes has no cross terms between elements. The power does not depend on the codes in use,
    so codes that collect more of the signal improve the SNR of the snapshots.

    Args:
        channel: H.
        field: x, on the surface.
    """
    of_element = jnp.mean(channel.real**2 + channel.imag**2, axis=0)
    return jnp.matmul(field.real**2 + field.imag**2, of_element, precision="highest")


def draw_scene(
    key: Key[Array, ""],
    physics: PhysicsConfig,
    dtype: DTypeLike = jnp.float32,
) -> Scene:
    """Draw a scene; batch by vmap over keys, with ``physics`` static under jit.

    Args:
        key: key of the scene; the same key gives the same scene.
        physics: measurement model and distribution of the sources.
        dtype: real dtype, float32 or (with x64 enabled) float64.
    """
    uniform_key, normal_key, code_key, impairment_key, channel_key = jax.random.split(key, 5)
    impairments = physics.impairments
    draws = draw_numbers(uniform_key, normal_key, physics, dtype)
    sources = make_sources(draws, physics)
    true_channel = draw_channel(ChannelDraws(draws.channel_law, draws.scattered, channel_key), physics)
    estimate = estimate_channel(impairment_key, impairments, true_channel)
    nominal = draw_codes(code_key, physics, estimate)
    applied, assumed = impair_codes(impairment_key, impairments, nominal)
    geometry, assumed_geometry = draw_geometry(impairment_key, physics, dtype)
    matrix = sources_steering(physics, sources, geometry)
    fields = _fields(draws, physics, matrix, sources)

    def snapshots_of(fields: Array) -> Array:
        return jnp.matmul(applied * fields, true_channel.T, precision="highest")

    clean = snapshots_of(fields)
    snr_db = draw_snr_db(draws.snr, physics.scene)
    if physics.scene.snr_reference == "received":
        signal_power = jnp.mean(jnp.abs(clean) ** 2)
    else:
        signal_power = jnp.mean(transmitted_power(true_channel, fields))
    noise_variance = signal_power * 10 ** (-snr_db / 10)
    snapshots = clean + jnp.sqrt(noise_variance) * draws.noise
    if impairments.clutter_db is not None:
        clutter = draw_clutter(impairment_key, physics, jnp.mean(jnp.abs(fields) ** 2), dtype, geometry)
        snapshots = snapshots + snapshots_of(clutter[None, :])
    truth = Truth(sources, snr_db, noise_variance, label_factor(matrix, sources.amplitude))
    return Scene(Observation(snapshots, estimate, assumed, assumed_geometry), truth)
