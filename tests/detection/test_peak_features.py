"""Features of the peaks of a spectrum, and the peaks that become sources."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import EstimatorConfig
from risjax.detection.peak_features import NUM_PEAK_FEATURES, peak_features
from risjax.detection.posterior_decision import sources_at_peaks
from risjax.estimators.interface import Search
from risjax.estimators.likelihood import statistics
from risjax.estimators.mvdr import localise_mvdr, mvdr_peaks
from risjax.physics.images import noise_to_signal
from risjax.spectral.grid import grid_like, to_position
from risjax.spectral.peak_search import Peaks
from tests.estimators.scenes import covariance, observe, small_physics, steer

PHYSICS, ESTIMATOR = small_physics(), EstimatorConfig(candidates=8)
TRUTH = np.array([[-0.6, 0.2, 1.1], [0.4, -0.3, 2.5]], np.float32)
ARRIVING = 2
"""Index of the feature that is the height of a measured peak above the noise."""


def search_of(effective):
    return Search(PHYSICS, ESTIMATOR, None, grid_like(effective.factor, PHYSICS, ESTIMATOR.grid), None)


@jax.jit
def described(observation, effective):
    peaks = mvdr_peaks(effective, search_of(effective))
    vectors = steer(PHYSICS, to_position(peaks.cosines)).T
    data = statistics(observation, PHYSICS)
    return peaks, peak_features(peaks, vectors, effective, data, noise_to_signal(observation), PHYSICS)


def test_evidence_is_finite_free_of_scale_and_sees_the_noise():
    effective = covariance(PHYSICS, TRUTH, np.array([1.0, 0.1]))
    quiet = observe(PHYSICS, TRUTH, np.array([1.0, 0.3j]), noise=0.01)
    peaks, features = described(quiet, effective)
    assert features.shape == (8, NUM_PEAK_FEATURES)
    chex.assert_tree_all_finite(features)
    np.testing.assert_array_equal(features[~peaks.alive], 0.0)
    _, louder = described(quiet._replace(snapshots=quiet.snapshots * 1000), effective)
    np.testing.assert_allclose(louder, features, rtol=1e-3, atol=1e-3)
    _, noisy = described(observe(PHYSICS, TRUTH, np.array([1.0, 0.3j]), noise=0.1), effective)
    fallen = np.asarray(features - noisy)[:2, ARRIVING]
    np.testing.assert_allclose(fallen, 2 * np.log(10), atol=0.5)  # ten times the noise's deviation: 20 dB


def test_peaks_come_highest_first_and_are_those_that_mvdr_chooses_from():
    effective = covariance(PHYSICS, TRUTH, np.array([1.0, 0.1]))
    peaks = mvdr_peaks(effective, search_of(effective))
    assert (np.diff(np.asarray(peaks.heights)[np.isfinite(peaks.heights)]) <= 0).all()
    by_mvdr = localise_mvdr(effective, PHYSICS, ESTIMATOR, jnp.asarray(2))
    np.testing.assert_allclose(to_position(peaks.cosines)[peaks.alive][:2], by_mvdr.position[:2], rtol=1e-5)
    np.testing.assert_allclose(by_mvdr.position[:2], TRUTH, atol=0.02)


def test_the_likeliest_peaks_become_sources_and_no_more_than_there_are_slots():
    cosines = jnp.stack([jnp.linspace(-0.5, 0.5, 6), jnp.zeros(6), jnp.full(6, 0.5)], axis=1)
    peaks = Peaks(cosines, jnp.asarray([8.0, 6.0, 5.0, 4.0, 3.0, 2.0]), jnp.asarray([1, 1, 0, 1, 1, 1], bool))
    likely = jnp.asarray([3.0, -3.0, 9.0, 2.0, 1.0, 4.0])
    found = sources_at_peaks(peaks, likely, PHYSICS, ESTIMATOR)
    assert found.active.tolist() == [True] * 3, "three slots, four peaks that are likely sources"
    np.testing.assert_allclose(found.position[:, 0], to_position(cosines)[jnp.asarray([5, 0, 3]), 0], rtol=1e-6)
    np.testing.assert_allclose(found.existence, jax.nn.sigmoid(jnp.asarray([4.0, 3.0, 2.0])), rtol=1e-6)
    none = sources_at_peaks(peaks, jnp.full(6, -3.0), PHYSICS, ESTIMATOR)
    assert not none.active.any()
    np.testing.assert_array_equal(none.existence, 0.0)
