"""The Rician channel from the surface to the base station.

H = sqrt(kappa / (kappa + 1)) H_los + sqrt(1 / (kappa + 1)) H_scattered, both parts of the same expected
squared Frobenius norm, so that kappa is the ratio of powers that its name says. The line of sight is the
outer product of two plane waves; the scattered part has independent circular Gaussian entries.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float, Key

from risjax.config import ArrayConfig, ChannelConfig
from risjax.physics.array import direction_cosines, element_positions


def scale(unit: Float[Array, "*shape"], interval: tuple[float, float]) -> Float[Array, "*shape"]:
    """Draws uniform on [0, 1) as draws uniform on [low, high); a point interval gives that point."""
    return interval[0] + unit * (interval[1] - interval[0])


def complex_normal(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Complex[Array, "*shape"]:
    """Circular complex Gaussian draws of unit variance; ``dtype`` is the real one."""
    parts = jax.random.normal(key, (2, *shape), dtype) * math.sqrt(0.5)
    return jax.lax.complex(parts[0], parts[1])


def line_of_sight(
    array: ArrayConfig, num_antennas: int, departure_rad: Array, arrival_cosine: Array
) -> Complex[Array, "M N"]:
    """The plane-wave line of sight, entries of unit modulus.

    Args:
        array: the surface.
        num_antennas: M, half a wavelength apart, centred.
        departure_rad: (azimuth, elevation) of the base station as the surface sees it, [2].
        arrival_cosine: direction cosine of the surface along the base station's array, [].
    """
    plane = jnp.asarray(element_positions(array), departure_rad.dtype)
    cosines = direction_cosines(departure_rad[0], departure_rad[1])
    departure = (plane[:, 0] * cosines[0] + plane[:, 1] * cosines[1]) * (2 * np.pi / array.wavelength_m)
    antennas = jnp.asarray(np.arange(num_antennas) - (num_antennas - 1) / 2, departure_rad.dtype)
    # The outer product of two waves, M + N sines. The phases' outer sum, with the sum over the two axes fused into it,
    # comes out wrong behind the 32,768th element of a batch in jaxlib 0.10.2 on a CPU (see the test).
    return _wave(np.pi * antennas * arrival_cosine)[:, None] * _wave(departure)[None, :]


def _wave(phase: Float[Array, " n"]) -> Complex[Array, " n"]:
    return jax.lax.complex(jnp.cos(phase), jnp.sin(phase))


def draw_channel(
    key: Key[Array, ""], channel: ChannelConfig, array: ArrayConfig, dtype: DTypeLike = jnp.float32
) -> Complex[Array, "M N"]:
    """One channel H; ``dtype`` is the real one of its parts."""
    law_key, scatter_key = jax.random.split(key)
    num_antennas, num_elements = channel.num_antennas, array.num_elements
    # One call for all scalars: every call of the generator costs 0.2 s of compilation on a CPU core.
    unit = jax.random.uniform(law_key, (4,), dtype)
    kappa = scale(unit[0], channel.rician_factor)
    azimuth_deg = scale(unit[1], channel.line_of_sight_azimuth_deg)
    departure_rad = jnp.deg2rad(jnp.stack([azimuth_deg, scale(unit[2], channel.line_of_sight_elevation_deg)]))
    if channel.arrival_azimuth_deg is None:
        arrival_cosine = direction_cosines(departure_rad[0], departure_rad[1])[0]
    else:
        arrival_cosine = jnp.sin(jnp.deg2rad(scale(unit[3], channel.arrival_azimuth_deg)))
    direct = line_of_sight(array, num_antennas, departure_rad, arrival_cosine)
    scattered = complex_normal(scatter_key, (num_antennas, num_elements), dtype)
    match channel.normalisation:
        case "unit":
            direct_scale = scattered_scale = 1 / math.sqrt(num_elements)
        case "original":
            direct_scale, scattered_scale = 1 / math.sqrt(num_antennas * num_elements), 1 / math.sqrt(num_antennas)
    return (
        jnp.sqrt(kappa / (kappa + 1)) * direct_scale * direct + jnp.sqrt(1 / (kappa + 1)) * scattered_scale * scattered
    )
