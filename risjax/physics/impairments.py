"""Hardware impairments: deviations of a real surface from the nominal model, drawn for each scene.

======= ========================================================= ======= ====
symbol  meaning                                                   shape   unit
======= ========================================================= ======= ====
e_n     reflection of element n over its nominal one: dead, gain, [N]     1
        phase offset
b(psi)  amplitude of a phase shifter set to the phase psi         [L, N]  1
p_n'    true position of element n                                [N, 2]  m
lambda' true wavelength                                           []      m
======= ========================================================= ======= ====

An impairment that is off draws no numbers and takes no time. Each impairment has its own key, so switching one on
leaves the others unchanged, and so the sources, the channel and the noise of the scene. If a strength is an interval,
the strength of each scene is drawn from a further key and scales the same draws.

Functions return pairs: the true quantity and the one that the receiver assumes, which is the nominal one with the
errors named in ``physics.impairments.known``.

References:
    S. Abeywickrama, R. Zhang, Q. Wu, C. Yuen, "Intelligent reflecting surface: practical phase shift model and
    beamforming optimization", IEEE Transactions on Communications 68 (2020), doi:10.1109/TCOMM.2020.3001125.
"""

import enum
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float, Key

from risjax.config import ArrayConfig, ImpairmentsConfig, PhysicsConfig
from risjax.physics.array import element_positions, steering
from risjax.physics.distributions import complex_normal, scale
from risjax.types import Geometry

Strength = float | Float[Array, ""]

COUPLING_EXPONENT = 1.6
COUPLING_PHASE_RAD = 0.43 * math.pi
"""Parameters of eq. 5 of the reference, from its measured example."""
NUM_CLUTTER_WAVES = 32
_RAD_PER_DEG = math.pi / 180
_STRENGTH_KEYS = 100
"""Offset of the key of a strength from the key of its draw."""


class _Draw(enum.IntEnum):
    JITTER = 0
    WAVELENGTH = 1
    SPACING = 2
    PHASE = 3
    AMPLITUDE = 4
    DEAD = 5
    CHANNEL = 6
    CLUTTER = 7
    COUPLING = 8


def _strength(
    key: Key[Array, ""], draw: _Draw, setting: float | tuple[float, float] | None, dtype: DTypeLike = jnp.float32
) -> Strength:
    """Strength of an impairment in this scene: the configured number, or a draw from the configured interval."""
    if isinstance(setting, tuple):
        unit = jax.random.uniform(jax.random.fold_in(key, _STRENGTH_KEYS + draw), (), dtype)
        return scale(unit, setting)
    assert setting is not None
    return setting


def draw_geometry(
    key: Key[Array, ""], physics: PhysicsConfig, dtype: DTypeLike = jnp.float32
) -> tuple[Geometry | None, Geometry | None]:
    """True geometry of the surface and the one that the receiver assumes; None is the nominal one."""
    impairments, array = physics.impairments, physics.array

    def uniform(draw: _Draw, name: str, unit: float = 1.0, shape: tuple[int, ...] = ()) -> Array:
        limit = _strength(key, draw, getattr(impairments, name), dtype) * unit
        return scale(jax.random.uniform(jax.random.fold_in(key, draw), shape, dtype), (-limit, limit))

    errors: dict[str, Array] = {}
    if impairments.is_on("spacing_error"):
        errors["spacing_error"] = 1 + uniform(_Draw.SPACING, "spacing_error")
    if impairments.is_on("position_jitter"):
        every = (array.num_elements, 2)
        errors["position_jitter"] = uniform(_Draw.JITTER, "position_jitter", array.spacing_m, every)
    if impairments.is_on("wavelength_error"):
        errors["wavelength_error"] = 1 + uniform(_Draw.WAVELENGTH, "wavelength_error")
    known = {name: error for name, error in errors.items() if name in impairments.known}
    return _geometry(errors, array, dtype), _geometry(known, array, dtype)


def _geometry(errors: Mapping[str, Array], array: ArrayConfig, dtype: DTypeLike) -> Geometry | None:
    elements_m = wavelength_m = None
    if "spacing_error" in errors or "position_jitter" in errors:
        elements_m = jnp.asarray(element_positions(array), dtype) * errors.get("spacing_error", 1)
        elements_m = elements_m + errors.get("position_jitter", 0)
    if "wavelength_error" in errors:
        wavelength_m = array.wavelength_m * errors["wavelength_error"]
    return Geometry(elements_m, wavelength_m) if errors else None


def coupling(codes: Complex[Array, "*shape"], min_amplitude: Strength) -> Float[Array, "*shape"]:
    """Reflection amplitude at a phase, b(psi) = (1 - b_min) ((sin(psi - psi_0) + 1) / 2)^1.6 + b_min."""
    swing = (jnp.sin(jnp.angle(codes) - COUPLING_PHASE_RAD) + 1) / 2
    return (1 - min_amplitude) * jnp.maximum(swing, 0) ** COUPLING_EXPONENT + min_amplitude


def impair_codes(
    key: Key[Array, ""], impairments: ImpairmentsConfig, codes: Complex[Array, "L N"]
) -> tuple[Complex[Array, "L N"], Complex[Array, "L N"]]:
    """Codes that the surface applies, and those that the receiver assumes."""
    dtype, shape = codes.real.dtype, (1, codes.shape[-1])
    factors: dict[str, Array] = {}

    def strength(draw: _Draw, name: str) -> Strength:
        return _strength(key, draw, getattr(impairments, name), dtype)

    if impairments.is_on("coupling_min_amplitude"):
        factors["coupling"] = coupling(codes, strength(_Draw.COUPLING, "coupling_min_amplitude"))
    if impairments.is_on("phase_error_deg"):
        offset = jax.random.normal(jax.random.fold_in(key, _Draw.PHASE), shape, dtype)
        factors["phase_error"] = jnp.exp(1j * (strength(_Draw.PHASE, "phase_error_deg") * _RAD_PER_DEG) * offset)
    if impairments.is_on("amplitude_error_db"):
        offset_db = jax.random.normal(jax.random.fold_in(key, _Draw.AMPLITUDE), shape, dtype)
        factors["amplitude_error"] = 10 ** (strength(_Draw.AMPLITUDE, "amplitude_error_db") * offset_db / 20)
    if impairments.is_on("dead_elements"):
        chance = jax.random.uniform(jax.random.fold_in(key, _Draw.DEAD), shape, dtype)
        factors["dead_elements"] = (chance >= strength(_Draw.DEAD, "dead_elements")).astype(dtype)
    applied = believed = codes
    for name, factor in factors.items():
        applied = applied * factor
        if name in impairments.known:
            believed = believed * factor
    return applied, believed


def estimate_channel(
    key: Key[Array, ""], impairments: ImpairmentsConfig, channel: Complex[Array, "M N"]
) -> Complex[Array, "M N"]:
    """Channel estimate H + E, with independent Gaussian entries of E of power ``channel_error_db`` relative to H."""
    if impairments.channel_error_db is None:
        return channel
    dtype = channel.real.dtype
    error = complex_normal(jax.random.fold_in(key, _Draw.CHANNEL), channel.shape, dtype)
    error_db = _strength(key, _Draw.CHANNEL, impairments.channel_error_db, dtype)
    power = jnp.mean(jnp.abs(channel) ** 2) * 10 ** (error_db / 10)
    return channel + jnp.sqrt(power) * error


def draw_clutter(
    key: Key[Array, ""],
    physics: PhysicsConfig,
    mean_power: Float[Array, ""],
    dtype: DTypeLike = jnp.float32,
    geometry: Geometry | None = None,
) -> Complex[Array, " N"]:
    """Clutter: a field of plane waves with directions uniform over the field of view.

    Args:
        key: the scene's impairment key.
        physics: field of view, and clutter power relative to that of the sources.
        mean_power: mean |x_n|^2 of the sources' field, [].
        dtype: real dtype.
        geometry: true geometry of the surface.
    """
    if physics.impairments.clutter_db is None:
        return jnp.zeros(physics.array.num_elements, jnp.result_type(dtype, jnp.complex64))
    direction_key, weight_key = jax.random.split(jax.random.fold_in(key, _Draw.CLUTTER))
    unit = jax.random.uniform(direction_key, (NUM_CLUTTER_WAVES, 2), dtype)
    azimuth_deg = scale(unit[:, 0], physics.scene.azimuth_deg)
    elevation_deg = scale(unit[:, 1], physics.scene.elevation_deg)
    far_m = jnp.full(NUM_CLUTTER_WAVES, 1000 * physics.scene.range_m[1], dtype)
    position = jnp.stack([jnp.deg2rad(azimuth_deg), jnp.deg2rad(elevation_deg), far_m], axis=-1)
    waves = steering(physics.array, position, geometry)
    weights = complex_normal(weight_key, (NUM_CLUTTER_WAVES,), dtype) / math.sqrt(NUM_CLUTTER_WAVES)
    clutter_db = _strength(key, _Draw.CLUTTER, physics.impairments.clutter_db, dtype)
    power = mean_power * waves.shape[-1] * 10 ** (clutter_db / 10)
    return jnp.sqrt(power) * jnp.matmul(weights, waves, precision="highest")
