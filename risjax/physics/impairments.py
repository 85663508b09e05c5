"""What real surfaces do to the nominal model, drawn anew in every scene.

======= ========================================================= ======= ====
symbol  meaning                                                   shape   unit
======= ========================================================= ======= ====
e_n     reflection of element n over its nominal one: dead, gain, [N]     1
        phase offset
b(psi)  amplitude of a phase shifter set to the phase psi         [L, N]  1
p_n'    where element n really is                                 [N, 2]  m
lambda' the real wavelength                                       []      m
======= ========================================================= ======= ====

An impairment that is off draws nothing and costs nothing. Each has a key of its own, so that switching one on leaves
the others, and the scene's sources, channel and noise, as they were.

What is drawn comes in pairs: as the world has it, and as the receiver believes it to be. The receiver's is the nominal
one plus the errors that ``physics.impairments.known`` names.
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
from risjax.physics.draws import complex_normal, scale
from risjax.types import Geometry

COUPLING_EXPONENT = 1.6
COUPLING_PHASE_RAD = 0.43 * math.pi
"""Abeywickrama, Zhang, Wu, Yuen, "Intelligent reflecting surface: practical phase shift model and beamforming
optimization", IEEE Trans. Commun. 68 (2020), eq. 5 and its measured example."""
NUM_CLUTTER_WAVES = 32


class _Draw(enum.IntEnum):
    JITTER = 0
    WAVELENGTH = 1
    SPACING = 2
    PHASE = 3
    AMPLITUDE = 4
    DEAD = 5
    CHANNEL = 6
    CLUTTER = 7


def draw_geometry(
    key: Key[Array, ""], physics: PhysicsConfig, dtype: DTypeLike = jnp.float32
) -> tuple[Geometry | None, Geometry | None]:
    """The surface as it really is, and as the receiver believes it to be; None where that is the nominal one."""
    impairments, array = physics.impairments, physics.array

    def uniform(draw: _Draw, limit: float, shape: tuple[int, ...] = ()) -> Array:
        return scale(jax.random.uniform(jax.random.fold_in(key, draw), shape, dtype), (-limit, limit))

    errors: dict[str, Array] = {}
    if impairments.spacing_error:
        errors["spacing_error"] = 1 + uniform(_Draw.SPACING, impairments.spacing_error)
    if impairments.position_jitter:
        limit_m = impairments.position_jitter * array.spacing_m
        errors["position_jitter"] = uniform(_Draw.JITTER, limit_m, (array.num_elements, 2))
    if impairments.wavelength_error:
        errors["wavelength_error"] = 1 + uniform(_Draw.WAVELENGTH, impairments.wavelength_error)
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


def coupling(codes: Complex[Array, "L N"], min_amplitude: float) -> Float[Array, "L N"]:
    """Reflection amplitude over phase, b(psi) = (1 - b_min) ((sin(psi - psi_0) + 1) / 2)^1.6 + b_min."""
    swing = (jnp.sin(jnp.angle(codes) - COUPLING_PHASE_RAD) + 1) / 2
    return (1 - min_amplitude) * jnp.maximum(swing, 0) ** COUPLING_EXPONENT + min_amplitude


def impair_codes(
    key: Key[Array, ""], impairments: ImpairmentsConfig, codes: Complex[Array, "L N"]
) -> tuple[Complex[Array, "L N"], Complex[Array, "L N"]]:
    """The codes as the surface applies them, and as the receiver believes them to be."""
    dtype, num_elements = codes.real.dtype, codes.shape[-1]
    factors: dict[str, Array] = {}
    if impairments.coupling_min_amplitude < 1:
        factors["coupling"] = coupling(codes, impairments.coupling_min_amplitude)
    if impairments.phase_error_deg:
        offset = jax.random.normal(jax.random.fold_in(key, _Draw.PHASE), (1, num_elements), dtype)
        factors["phase_error"] = jnp.exp(1j * math.radians(impairments.phase_error_deg) * offset)
    if impairments.amplitude_error_db:
        offset_db = jax.random.normal(jax.random.fold_in(key, _Draw.AMPLITUDE), (1, num_elements), dtype)
        factors["amplitude_error"] = 10 ** (impairments.amplitude_error_db * offset_db / 20)
    if impairments.dead_elements:
        chance = jax.random.uniform(jax.random.fold_in(key, _Draw.DEAD), (1, num_elements), dtype)
        factors["dead_elements"] = (chance >= impairments.dead_elements).astype(dtype)
    applied = believed = codes
    for name, factor in factors.items():
        applied = applied * factor
        if name in impairments.known:
            believed = believed * factor
    return applied, believed


def estimate_channel(
    key: Key[Array, ""], impairments: ImpairmentsConfig, channel: Complex[Array, "M N"]
) -> Complex[Array, "M N"]:
    """The receiver's estimate H + E, E of independent entries and of the stated power over H's own."""
    if impairments.channel_error_db is None:
        return channel
    error = complex_normal(jax.random.fold_in(key, _Draw.CHANNEL), channel.shape, channel.real.dtype)
    power = jnp.mean(jnp.abs(channel) ** 2) * 10 ** (impairments.channel_error_db / 10)
    return channel + jnp.sqrt(power) * error


def draw_clutter(
    key: Key[Array, ""],
    physics: PhysicsConfig,
    mean_power: Float[Array, ""],
    dtype: DTypeLike = jnp.float32,
    geometry: Geometry | None = None,
) -> Complex[Array, " N"]:
    """A diffuse field: plane waves from directions uniform over the field of view, of total mean power per element.

    Args:
        key: the scene's impairment key.
        physics: gives the field of view and the power over the sources' own.
        mean_power: the sources' mean |x_n|^2, [].
        dtype: real dtype.
        geometry: of the surface as it really is.
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
    power = mean_power * waves.shape[-1] * 10 ** (physics.impairments.clutter_db / 10)
    return jnp.sqrt(power) * jnp.matmul(weights, waves, precision="highest")
