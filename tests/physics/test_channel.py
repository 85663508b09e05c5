"""The Rician channel: what its factor and its normalisation mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from risjax.config import ArrayConfig, ChannelConfig, PhysicsConfig
from risjax.physics.array import element_positions, steering
from risjax.physics.channel import NUM_UNIFORM, ChannelDraws, draw_channel, line_of_sight, rician_channel
from risjax.physics.distributions import complex_normal

ARRAY = ArrayConfig(num_horizontal=6, num_vertical=6)
DRAWS = 400
FIXED = ChannelConfig(line_of_sight_azimuth_deg=(20.0, 20.0), line_of_sight_elevation_deg=(-10.0, -10.0))


def _channels(channel: ChannelConfig, array: ArrayConfig = ARRAY) -> np.ndarray:
    unit = jax.random.uniform(jax.random.key(0), (DRAWS, NUM_UNIFORM))
    scattered = complex_normal(jax.random.key(1), (DRAWS, channel.num_antennas, array.num_elements), jnp.float32)
    return np.asarray(jax.jit(jax.vmap(lambda u, s: rician_channel(u, s, channel, array)))(unit, scattered))


@pytest.mark.parametrize("factor", [0.0, 1.0, 10.0])
def test_the_rician_factor_is_the_ratio_of_powers(factor):
    """A point geometry makes the line of sight the mean over draws; its share of the power is kappa / (kappa + 1)."""
    settings = {"rician_factor": (factor, factor), "arrival_azimuth_deg": (5.0, 5.0)}
    channels = _channels(FIXED.model_copy(update=settings))
    power = np.mean(np.abs(channels) ** 2)
    np.testing.assert_allclose(power * 36, 1, rtol=5 / np.sqrt(channels.size))  # unit: E|H_mn|^2 = 1 / N
    direct = np.mean(np.abs(channels.mean(0)) ** 2) - (power - np.mean(np.abs(channels.mean(0)) ** 2)) / DRAWS
    np.testing.assert_allclose(direct * 36, factor / (factor + 1), atol=0.02)


def test_original_normalisation_gives_the_line_of_sight_one_over_n_of_its_share():
    settings = {"rician_factor": (4.0, 4.0), "normalisation": "original", "arrival_azimuth_deg": None}
    channels = _channels(FIXED.model_copy(update=settings))
    scattered = np.mean(np.var(channels, axis=0))
    np.testing.assert_allclose(scattered, 1 / 5 / 16, rtol=0.02)
    direct = np.mean(np.abs(channels.mean(0)) ** 2) - scattered / DRAWS
    np.testing.assert_allclose(direct, 4 / 5 / 16 / 36, rtol=0.1)


def test_line_of_sight_is_right_to_the_end_of_a_large_batch():
    """A fused sum over two axes inside an outer sum is wrong behind element 32,768 in jaxlib 0.10.2 on a CPU."""
    array, count = ArrayConfig(), 40  # 40 * 16 * 144 = 92,160
    random = np.random.default_rng(0)
    departure = random.uniform(-1, 1, (count, 2)).astype(np.float32)
    arrival = random.uniform(-0.8, 0.8, count).astype(np.float32)
    direct = jax.jit(jax.vmap(lambda d, a: line_of_sight(array, 16, d, a)))(departure, arrival)
    cosines = np.stack([np.sin(departure[:, 0]) * np.cos(departure[:, 1]), np.sin(departure[:, 1])], axis=1)
    surface = 2 * np.pi / array.wavelength_m * cosines @ element_positions(array).T
    antennas = np.pi * arrival[:, None] * (np.arange(16) - 7.5)
    np.testing.assert_allclose(direct, np.exp(1j * (antennas[:, :, None] + surface[:, None, :])), atol=2e-5)


def test_line_of_sight_is_a_plane_wave_on_both_sides():
    departure = jnp.array([0.3, -0.2])
    direct = line_of_sight(ARRAY, 8, departure, jnp.asarray(0.25))
    surface = steering(ARRAY, jnp.array([0.3, -0.2, 1e7])) * 6
    antennas = np.exp(1j * np.pi * 0.25 * (np.arange(8) - 3.5))
    np.testing.assert_allclose(direct, antennas[:, None] * np.asarray(surface)[None, :], atol=1e-4)


@pytest.mark.parametrize("distance_m", [2.0, 30.0, 1e5])
def test_line_of_sight_from_a_near_base_station_is_the_distance_in_space(distance_m):
    """Antennas along a unit vector e of e.(-u) = c in the plane of u and the horizontal, float64, by Pythagoras."""
    azimuth, elevation, cosine = 0.4, -0.3, 0.35
    direct = line_of_sight(ARRAY, 8, jnp.array([azimuth, elevation]), jnp.asarray(cosine), jnp.asarray(distance_m))
    u = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    horizontal = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
    along = -cosine * u + np.sqrt(1 - cosine**2) * horizontal
    antennas = distance_m * u + (np.arange(8) - 3.5)[:, None] * ARRAY.wavelength_m / 2 * along
    elements = np.concatenate([element_positions(ARRAY), np.zeros((36, 1))], axis=1)
    paths = np.linalg.norm(antennas[:, None] - elements[None], axis=-1)
    np.testing.assert_allclose(direct, np.exp(2j * np.pi / ARRAY.wavelength_m * (distance_m - paths)), atol=1e-4)
    if distance_m > 1e4:
        plane = line_of_sight(ARRAY, 8, jnp.array([azimuth, elevation]), jnp.asarray(cosine))
        np.testing.assert_allclose(direct, plane, atol=1e-3)


def test_a_near_base_station_gives_the_line_of_sight_more_than_one_dimension():
    """A plane-wave line of sight has rank one; a spherical one, at a finite distance, has a higher rank."""
    for distance_m, low, high in ((None, 0.0, 0.01), ((2.0, 2.0), 0.1, 1.0)):
        channels = _channels(ChannelConfig(rician_factor=(1e6, 1e6), distance_m=distance_m))[:20]
        values = np.linalg.svd(channels, compute_uv=False)
        assert low < np.median(values[:, 1] / values[:, 0]) < high


def test_a_distance_of_zero_is_refused():
    with pytest.raises(ValidationError, match="distance_m must start above 0"):
        ChannelConfig(distance_m=(0.0, 5.0))


def test_a_channel_of_another_shape_is_refused_with_the_place_of_its_code(monkeypatch):
    monkeypatch.setattr("risjax.physics.channel.draw_rician", lambda draws, physics: draws.scattered.T)
    draws = ChannelDraws(jnp.zeros(NUM_UNIFORM), jnp.zeros((16, 144), jnp.complex64), jax.random.key(0))
    with pytest.raises(ValueError, match=r"has shape \[144, 16\], expected \[M, N\] = \[16, 144\]; mend .*draw_rician"):
        draw_channel(draws, PhysicsConfig())
