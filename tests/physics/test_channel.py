"""The Rician channel: what its factor and its normalisation mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import ArrayConfig, ChannelConfig
from risjax.physics.array import element_positions, steering
from risjax.physics.channel import draw_channel, line_of_sight

ARRAY = ArrayConfig(num_horizontal=6, num_vertical=6)
DRAWS = 400


def _channels(channel: ChannelConfig, array: ArrayConfig = ARRAY) -> np.ndarray:
    keys = jax.random.split(jax.random.key(0), DRAWS)
    return np.asarray(jax.jit(jax.vmap(lambda key: draw_channel(key, channel, array)))(keys))


@pytest.mark.parametrize("factor", [0.0, 1.0, 10.0])
def test_the_factor_is_the_ratio_of_powers(factor):
    """A point geometry makes the line of sight the mean over draws; its share of the power is kappa / (kappa + 1)."""
    fixed = {"line_of_sight_azimuth_deg": (20.0, 20.0), "line_of_sight_elevation_deg": (-10.0, -10.0)}
    channels = _channels(ChannelConfig(rician_factor=(factor, factor), arrival_azimuth_deg=(5.0, 5.0), **fixed))
    power = np.mean(np.abs(channels) ** 2)
    np.testing.assert_allclose(power * 36, 1, rtol=5 / np.sqrt(channels.size))  # unit: E|H_mn|^2 = 1 / N
    direct = np.mean(np.abs(channels.mean(0)) ** 2) - (power - np.mean(np.abs(channels.mean(0)) ** 2)) / DRAWS
    np.testing.assert_allclose(direct * 36, factor / (factor + 1), atol=0.02)


def test_original_normalisation_gives_the_line_of_sight_one_over_n_of_its_share():
    fixed = {"line_of_sight_azimuth_deg": (20.0, 20.0), "line_of_sight_elevation_deg": (-10.0, -10.0)}
    channels = _channels(
        ChannelConfig(rician_factor=(4.0, 4.0), normalisation="original", arrival_azimuth_deg=None, **fixed)
    )
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
