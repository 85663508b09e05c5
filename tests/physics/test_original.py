"""The `original` profile against scenes that the original pipeline's own generator made (data/original)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from risjax.config import PhysicsConfig
from risjax.config.io import load_config
from risjax.data.files import read_scenes
from risjax.data.layouts import SceneFile
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.physics.array import steering
from risjax.physics.codebook import codes
from risjax.types import Scene

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data" / "original"
NOISE_FLOOR = 1e-6  # root mean square of what the original added to y_clean
SIGNIFICANCE = 1e-3  # of the two-sample tests; seeds are fixed


@pytest.fixture(scope="module")
def physics() -> PhysicsConfig:
    return load_config("base", ["physics=original"]).physics


@pytest.fixture(scope="module")
def clean() -> SceneFile:
    return read_scenes(DATA / "clean.npz")


@pytest.fixture(scope="module")
def scenes() -> SceneFile:
    return read_scenes(DATA / "scenes.npz")


@pytest.fixture(scope="module")
def fresh(physics) -> Scene:
    draw = jax.jit(lambda index: scene_batch(physics, 0, Purpose.TEST_SCENES, index, 500))
    return jax.tree.map(np.asarray, draw(0))


def _vectors(file: SceneFile, physics: PhysicsConfig) -> np.ndarray:
    """A^T of every scene, [S, K, N], zero where inactive."""
    assert file.sources is not None
    active = np.asarray(file.sources.active)[..., None]
    position = np.where(active, file.sources.position, np.asarray([0, 0, 1], np.float32))
    return np.where(active, steering(physics.array, jnp.asarray(position)), 0)


@pytest.mark.parametrize("name", ["scenes", "clean", "shard"])
def test_codes_are_the_profiles(name, physics):
    held = read_scenes(DATA / f"{name}.npz").observation.codes
    np.testing.assert_allclose(held, np.broadcast_to(codes(physics.codebook, physics.array), held.shape), atol=1e-5)


def test_shard_holds_the_channel_times_the_codes():
    with np.load(DATA / "shard.npz") as shard:
        combined = shard["H"][..., 0] + 1j * shard["H"][..., 1]
    observation = read_scenes(DATA / "shard.npz").observation
    expected = np.einsum("smn,sln->slm", observation.channel, observation.codes)
    np.testing.assert_allclose(combined, expected, atol=1e-5)


def test_clean_snapshots_are_those_of_the_profiles_steering(clean, physics):
    fields = np.einsum("sk,skn->sn", clean.sources.amplitude, _vectors(clean, physics))
    observation = clean.observation
    again = np.einsum("sln,smn->slm", observation.codes * fields[:, None], observation.channel)
    error, level = (np.sqrt(np.mean(np.abs(a) ** 2, axis=(1, 2))) for a in (again - clean.clean, clean.clean))
    np.testing.assert_array_less(error, 1e-4 * level + 1.1 * NOISE_FLOOR)


def test_label_covariance_is_the_sum_of_powers(clean, physics):
    power = np.abs(clean.sources.amplitude) ** 2
    vectors = _vectors(clean, physics) * np.sqrt(power / power.sum(1, keepdims=True))[..., None] * 12
    expected = np.einsum("skn,skm->snm", vectors, vectors.conj())
    held = clean.covariance_factor @ clean.covariance_factor.conj().swapaxes(1, 2)
    difference = np.linalg.norm(held - expected, axis=(1, 2)) / np.linalg.norm(expected, axis=(1, 2))
    # The file's amplitudes carry the noise floor of the snapshots they were found from, averaged over L M = 256.
    level = np.sqrt(np.mean(np.abs(clean.clean) ** 2, axis=(1, 2)))
    np.testing.assert_array_less(difference, 1e-4 + 2 * NOISE_FLOOR / 16 / level)


def test_wrong_manifolds_do_not_explain_the_clean_snapshots(clean, physics):
    """The test above tells them apart: the spherical wave and the centred panel fail it by far."""
    for update in ({"wavefront": "spherical"}, {"origin": "centre"}):
        other = physics.model_copy(update={"array": physics.array.model_copy(update=update)})
        overlap = np.abs(np.einsum("skn,skn->sk", _vectors(clean, other).conj(), _vectors(clean, physics)))
        assert np.median(overlap[clean.sources.active]) < 0.99


def test_jittered_files_hold_nominal_steering_within_12_percent_of_the_span():
    file = read_scenes(DATA / "shard.npz")
    physics = load_config("base", ["physics=original"]).physics
    vectors = _vectors(file, physics)
    assert file.sources is not None
    assert file.covariance_factor is not None
    for scene, active in enumerate(np.asarray(file.sources.active)):
        basis = np.linalg.svd(file.covariance_factor[scene], full_matrices=False)[0][:, : active.sum()]
        outside = vectors[scene][active].T - basis @ (basis.conj().T @ vectors[scene][active].T)
        assert np.linalg.norm(outside, axis=0).max() < 0.12


def _condition(observation) -> np.ndarray:
    channel, code = observation.channel[:60], observation.codes[:60]
    matrices = np.einsum("smn,sln->slmn", channel, code).reshape(len(channel), -1, channel.shape[-1])
    return np.linalg.cond(matrices)


def _same(first: np.ndarray, second: np.ndarray) -> float:
    return stats.kstest(first.ravel(), second.ravel()).pvalue


def test_snapshots_have_the_originals_level(scenes, fresh):
    level = [np.log(np.mean(np.abs(o.snapshots) ** 2, axis=(1, 2))) for o in (scenes.observation, fresh.observation)]
    assert _same(*level) > SIGNIFICANCE


def test_channels_have_the_originals_power_and_conditioning(scenes, fresh):
    power = [np.mean(np.abs(o.channel) ** 2, axis=(1, 2)) for o in (scenes.observation, fresh.observation)]
    assert _same(*power) > SIGNIFICANCE
    condition = [_condition(o) for o in (scenes.observation, fresh.observation)]
    assert _same(*condition) > SIGNIFICANCE
    assert 6 < np.median(condition[1]) < 8


def test_channels_have_the_originals_line_of_sight(scenes, fresh):
    """The share of the power in the strongest pair of plane waves, where the base station repeats the azimuth."""

    def share(channel: np.ndarray) -> np.ndarray:
        spectrum = np.fft.fftn(channel.reshape(-1, 16, 12, 12), s=(32, 24, 24), axes=(1, 2, 3))
        peak = np.max(np.abs(spectrum) ** 2, axis=(1, 2, 3))
        return peak / np.sum(np.abs(channel) ** 2, axis=(1, 2)) / channel[0].size

    assert _same(share(scenes.observation.channel), share(fresh.observation.channel[:160])) > SIGNIFICANCE


def test_sources_have_the_originals_laws(scenes, fresh):
    sources = fresh.truth.sources
    assert stats.chisquare(np.bincount(scenes.sources.active.sum(1))[1:]).pvalue > SIGNIFICANCE
    for column in range(3):
        held = scenes.sources.position[scenes.sources.active][:, column]
        assert _same(held, sources.position[sources.active][:, column]) > SIGNIFICANCE
    assert _same(scenes.snr_db, fresh.truth.snr_db) > SIGNIFICANCE


def test_sources_have_the_originals_powers(scenes, fresh, physics):
    """Least-squares amplitudes at the true places, at SNRs where the noise does not matter."""
    loud = np.flatnonzero(scenes.snr_db > 8)
    vectors, observation = _vectors(scenes, physics), scenes.observation
    held = []
    for scene in loud:
        active = scenes.sources.active[scene]
        fields = observation.codes[scene][None] * vectors[scene][active][:, None]
        images = (fields @ observation.channel[scene].T).reshape(active.sum(), -1).T
        held.append(np.abs(np.linalg.lstsq(images, observation.snapshots[scene].ravel(), rcond=None)[0]))
    sources = fresh.truth.sources
    assert _same(np.log(np.concatenate(held)), np.log(np.abs(sources.amplitude[sources.active]))) > SIGNIFICANCE
