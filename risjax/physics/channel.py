"""The Rician channel from the surface to the base station.

H = sqrt(kappa / (kappa + 1)) H_los + sqrt(1 / (kappa + 1)) H_scattered. Both parts have the same expected squared
Frobenius norm, so the Rician factor kappa is their ratio of powers. The line of sight is the outer product of two plane
waves or, for a base station at a finite distance, the exact spherical wave between every antenna and every element. The
scattered part has independent circular Gaussian entries.
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Key

from risjax.config import ArrayConfig, ChannelConfig, PhysicsConfig
from risjax.config.channel import CHANNELS
from risjax.physics.array import direction_cosines, element_positions
from risjax.physics.distributions import scale
from risjax.registry import implementation_of

NUM_UNIFORM = 5
"""Number of uniform draws of a channel: Rician factor, three angles and a distance."""


class ChannelDraws(NamedTuple):
    """Random numbers of a channel.

    Attributes:
        uniform: uniform on [0, 1), [5].
        scattered: unit circular Gaussian, [M, N].
        key: key of further random numbers.
    """

    uniform: Float[Array, "5"]
    scattered: Complex[Array, "M N"]
    key: Key[Array, ""]


@runtime_checkable
class DrawChannel(Protocol):
    """A simulator of channels."""

    def __call__(self, draws: ChannelDraws, physics: PhysicsConfig, /) -> Complex[Array, "M N"]:
        """Return H of a scene; batched by vmap, with ``physics`` static under jit.

        Args:
            draws: random numbers of the scene's channel, in the dtype of the result.
            physics: measurement model; the settings of the simulator are ``physics.channel.<its name>``.
        """
        ...


def draw_channel(draws: ChannelDraws, physics: PhysicsConfig) -> Complex[Array, "M N"]:
    """H of a scene, by the simulator ``physics.channel.kind``.

    Raises:
        ValueError: that simulator returns an array of another shape than [M, N].
    """
    part = CHANNELS[physics.channel.kind]
    draw: DrawChannel = implementation_of(part)
    channel = draw(draws, physics)
    if channel.shape != draws.scattered.shape:
        raise ValueError(
            f"the channel {part.name!r} has shape {list(channel.shape)}, expected [M, N] = "
            f"{list(draws.scattered.shape)}; mend its implementation {part.implementation}"
        )
    return channel.astype(draws.scattered.dtype)


def draw_rician(draws: ChannelDraws, physics: PhysicsConfig) -> Complex[Array, "M N"]:
    """`rician_channel` as a `DrawChannel`."""
    return rician_channel(draws.uniform, draws.scattered, physics.channel, physics.array)


def line_of_sight(
    array: ArrayConfig,
    num_antennas: int,
    departure_rad: Array,
    arrival_cosine: Array,
    distance_m: Float[Array, ""] | None = None,
) -> Complex[Array, "M N"]:
    """Line-of-sight channel with entries exp(+j k (D - d_mn)), which is 1 between the two centres.

    The antennas of the base station form a centred line with a spacing of half a wavelength, in the plane spanned by
    the line between the centres and the horizontal.

    Args:
        array: the surface.
        num_antennas: M.
        departure_rad: (azimuth, elevation) of the base station seen from the surface, [2].
        arrival_cosine: direction cosine of the surface along the base station's array, [].
        distance_m: D between the centres; None is the limit of large D, two plane waves.
    """
    wavenumber = 2 * np.pi / array.wavelength_m
    plane = jnp.asarray(element_positions(array), departure_rad.dtype)
    antennas_m = jnp.asarray(
        (np.arange(num_antennas) - (num_antennas - 1) / 2) * array.wavelength_m / 2, departure_rad.dtype
    )
    cosines = direction_cosines(departure_rad[0], departure_rad[1])
    towards = plane[:, 0] * cosines[0] + plane[:, 1] * cosines[1]
    if distance_m is None:
        # Outer product of two waves. The sine of the outer sum of phases is wrong from the 32,769th element of a batch
        # on in jaxlib 0.10.2 on a CPU, see test_line_of_sight_is_right_to_the_end_of_a_large_batch.
        return _wave(wavenumber * antennas_m * arrival_cosine)[:, None] * _wave(wavenumber * towards)[None, :]
    # From element p to antenna b e is D u + w with w = b e - p, and e = -c u + sqrt(1 - c^2) t, t horizontal.
    across = jnp.sqrt(1 - arrival_cosine**2) * jnp.cos(departure_rad[0]) * plane[:, 0] - arrival_cosine * towards
    along = -arrival_cosine * antennas_m[:, None] - towards[None, :]
    squared = antennas_m[:, None] ** 2 + jnp.sum(plane**2, axis=1)[None, :] - 2 * antennas_m[:, None] * across[None, :]
    excess = 2 * distance_m * along + squared  # d^2 - D^2; its subtraction would lose digits at a distance
    return _wave(-wavenumber * excess / (distance_m + jnp.sqrt(distance_m**2 + excess)))


def _wave(phase: Float[Array, "*shape"]) -> Complex[Array, "*shape"]:
    return jax.lax.complex(jnp.cos(phase), jnp.sin(phase))


def rician_channel(
    unit: Float[Array, "5"], scattered: Complex[Array, "M N"], channel: ChannelConfig, array: ArrayConfig
) -> Complex[Array, "M N"]:
    """Channel H with the configured distribution.

    Args:
        unit: uniform draws on [0, 1): Rician factor, azimuth, elevation, azimuth of arrival, distance.
        scattered: circular Gaussian draws of unit variance.
        channel: configured distribution.
        array: the surface.
    """
    num_antennas, num_elements = scattered.shape
    kappa = scale(unit[0], channel.rician_factor)
    azimuth_deg = scale(unit[1], channel.line_of_sight_azimuth_deg)
    departure_rad = jnp.deg2rad(jnp.stack([azimuth_deg, scale(unit[2], channel.line_of_sight_elevation_deg)]))
    if channel.arrival_azimuth_deg is None:
        arrival_cosine = direction_cosines(departure_rad[0], departure_rad[1])[0]
    else:
        arrival_cosine = jnp.sin(jnp.deg2rad(scale(unit[3], channel.arrival_azimuth_deg)))
    distance_m = None if channel.distance_m is None else scale(unit[4], channel.distance_m)
    direct = line_of_sight(array, num_antennas, departure_rad, arrival_cosine, distance_m)
    match channel.normalisation:
        case "unit":
            direct_scale = scattered_scale = 1 / math.sqrt(num_elements)
        case "original":
            direct_scale, scattered_scale = 1 / math.sqrt(num_antennas * num_elements), 1 / math.sqrt(num_antennas)
    return (
        jnp.sqrt(kappa / (kappa + 1)) * direct_scale * direct + jnp.sqrt(1 / (kappa + 1)) * scattered_scale * scattered
    )
