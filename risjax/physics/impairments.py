"""What real surfaces do to the nominal model, drawn anew in every scene.

====== ========================================================= ======= ====
symbol meaning                                                   shape   unit
====== ========================================================= ======= ====
e_n    reflection of element n over its nominal one: dead, gain, [N]     1
       phase offset
b(psi) amplitude of a phase shifter set to the phase psi         [L, N]  1
p_n'   where element n really is                                 [N, 2]  m
====== ========================================================= ======= ====

An impairment that is off draws nothing and costs nothing. Each has a key of its own, so that switching one on leaves
the others, and the scene's sources, channel and noise, as they were.
"""

import enum
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float, Key

from risjax.config import ImpairmentsConfig, PhysicsConfig
from risjax.physics.array import element_positions, steering
from risjax.physics.draws import complex_normal, scale

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


class Geometry(NamedTuple):
    """The surface as it really is.

    Attributes:
        elements: positions in metres at the nominal wavelength, [N, 2]; None where they are the nominal ones.
        range_scale: what ranges are to be multiplied by to be metres at the nominal wavelength, [].
    """

    elements: Float[Array, "N 2"] | None
    range_scale: Float[Array, ""] | float


def draw_geometry(key: Key[Array, ""], physics: PhysicsConfig, dtype: DTypeLike = jnp.float32) -> Geometry:
    """The real positions of the elements.

    Phases depend on lengths over the wavelength only, so a wavelength (1 + e) lambda is a world shrunk by 1 / (1 + e)
    at the nominal wavelength: elements and ranges alike.
    """
    impairments, array = physics.impairments, physics.array
    if not (impairments.position_jitter or impairments.wavelength_error or impairments.spacing_error):
        return Geometry(None, 1.0)
    elements = jnp.asarray(element_positions(array), dtype)
    if impairments.spacing_error:
        limit = impairments.spacing_error
        elements = elements * (
            1 + scale(jax.random.uniform(jax.random.fold_in(key, _Draw.SPACING), (), dtype), (-limit, limit))
        )
    if impairments.position_jitter:
        limit = impairments.position_jitter * array.spacing_m
        unit = jax.random.uniform(jax.random.fold_in(key, _Draw.JITTER), elements.shape, dtype)
        elements = elements + scale(unit, (-limit, limit))
    shrinkage = jnp.ones((), dtype)
    if impairments.wavelength_error:
        limit = impairments.wavelength_error
        unit = jax.random.uniform(jax.random.fold_in(key, _Draw.WAVELENGTH), (), dtype)
        shrinkage = 1 / (1 + scale(unit, (-limit, limit)))
    return Geometry(elements * shrinkage, shrinkage)


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
    key: Key[Array, ""], physics: PhysicsConfig, mean_power: Float[Array, ""], dtype: DTypeLike = jnp.float32
) -> Complex[Array, " N"]:
    """A diffuse field: plane waves from directions uniform over the field of view, of total mean power per element.

    Args:
        key: the scene's impairment key.
        physics: gives the field of view and the power over the sources' own.
        mean_power: the sources' mean |x_n|^2, [].
        dtype: real dtype.
    """
    if physics.impairments.clutter_db is None:
        return jnp.zeros(physics.array.num_elements, jnp.result_type(dtype, jnp.complex64))
    direction_key, weight_key = jax.random.split(jax.random.fold_in(key, _Draw.CLUTTER))
    unit = jax.random.uniform(direction_key, (NUM_CLUTTER_WAVES, 2), dtype)
    azimuth_deg = scale(unit[:, 0], physics.scene.azimuth_deg)
    elevation_deg = scale(unit[:, 1], physics.scene.elevation_deg)
    far_m = jnp.full(NUM_CLUTTER_WAVES, 1000 * physics.scene.range_m[1], dtype)
    position = jnp.stack([jnp.deg2rad(azimuth_deg), jnp.deg2rad(elevation_deg), far_m], axis=-1)
    waves = steering(physics.array, position)
    weights = complex_normal(weight_key, (NUM_CLUTTER_WAVES,), dtype) / math.sqrt(NUM_CLUTTER_WAVES)
    power = mean_power * waves.shape[-1] * 10 ** (physics.impairments.clutter_db / 10)
    return jnp.sqrt(power) * jnp.matmul(weights, waves, precision="highest")
