"""Candidates from a covariance, their elimination, and the features that describe them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import PosteriorConfig
from risjax.detection.candidate_features import (
    CandidateFeatures,
    RangeLikelihood,
    candidate_features,
    drops,
    num_features,
)
from risjax.detection.candidates import eliminate
from risjax.detection.posterior_decision import (
    PosteriorDecision,
    decide_by_posterior,
    existence_of_slots,
    weighted_candidates,
)
from risjax.estimators.forward_selection import hold, joining_gain, search_energy
from risjax.estimators.joint_ml import maximise
from risjax.estimators.likelihood import linearise, statistics
from risjax.linalg import LowRankCovariance
from risjax.physics.array import steering
from risjax.spectral.grid import Field, make_grid, to_cosines, to_position
from tests.estimators.scenes import observe, small_physics, steer

TRUTH = np.array([[-0.6, 0.2, 1.1], [0.4, -0.3, 2.5]], np.float32)
AMPLITUDES = np.array([1.0, 0.7j])
PHYSICS = small_physics()
SLOTS = PHYSICS.scene.max_sources
SETTINGS = PosteriorConfig()


def covariance_of(positions: np.ndarray) -> LowRankCovariance:
    factor = steering(PHYSICS.array, jnp.asarray(positions)).T
    scale = jnp.sqrt(factor.shape[0] / len(positions)).astype(factor.real.dtype)
    return LowRankCovariance(jnp.pad(factor * scale, ((0, 0), (0, 3 - len(positions)))), jnp.asarray(1e-3))


@pytest.fixture(scope="module")
def run():
    grid = make_grid(PHYSICS, SETTINGS.grid)

    @jax.jit
    def both(observation, effective):
        data = statistics(observation, PHYSICS)
        found = eliminate(data, effective, PHYSICS, SETTINGS, grid)
        drop = drops(found, data)
        features = jax.vmap(lambda fit, level: candidate_features(fit, level, drop, data, PHYSICS))(
            found.fits, found.level
        )
        return found, features

    return both


@pytest.mark.parametrize("known", [TRUTH, TRUTH[:1]], ids=["both in the covariance", "one only in the residual"])
def test_two_planted_sources_survive_the_elimination(run, known: np.ndarray):
    found, _ = run(observe(PHYSICS, TRUTH, AMPLITUDES, noise=0.02), covariance_of(known))
    assert np.asarray(found.fits.active).sum(1).tolist() == list(range(1, SLOTS + 1))
    pair = to_position(found.fits.cosines[1])[np.asarray(found.fits.active[1])]
    pair = pair[np.argsort(pair[:, 0])]
    np.testing.assert_allclose(pair[:, :2], TRUTH[:, :2], atol=0.01)
    np.testing.assert_allclose(pair[:, 2], TRUTH[:, 2], rtol=0.1)
    residuals = np.asarray(found.residuals)
    assert residuals[1] > 3 * residuals[2], "the second source explains most of what the first leaves"
    assert residuals[2] < 1.5 * residuals[-1]


def test_each_fit_holds_the_candidates_of_the_next_but_the_weakest(run):
    found, _ = run(observe(PHYSICS, TRUTH, AMPLITUDES, noise=0.05), covariance_of(TRUTH))
    active, weakest = np.asarray(found.fits.active), np.asarray(found.weakest)
    for k in range(1, SLOTS):
        kept = active[k].copy()
        kept[weakest[k]] = False
        np.testing.assert_array_equal(kept, active[k - 1])
    assert len(set(weakest.tolist())) == SLOTS


def test_a_fit_is_stored_in_the_slots_of_its_candidates(run):
    """Fits are computed in as many slots as they have candidates: what is stored is what all slots would have given."""
    observation = observe(PHYSICS, TRUTH, AMPLITUDES, noise=0.05)
    found, _ = run(observation, covariance_of(TRUTH))
    data = statistics(observation, PHYSICS)
    again = jax.vmap(lambda x, on: linearise(data, PHYSICS.array, x, on))(found.fits.cosines, found.fits.active)
    for name in again._fields:
        expected = np.asarray(getattr(again, name))
        np.testing.assert_allclose(getattr(found.fits, name), expected, rtol=2e-3, atol=1e-4 * np.abs(expected).max())


def test_fewer_candidates_than_slots_leave_the_larger_fits_empty():
    observation = observe(PHYSICS, TRUTH, AMPLITUDES, noise=0.05)
    data = statistics(observation, PHYSICS)
    settings = SETTINGS.model_copy(update={"residual_rounds": 0})
    grid = make_grid(PHYSICS, settings.grid)
    distance = jnp.sum((grid.cosines.reshape(-1, 3) - to_cosines(jnp.asarray(TRUTH[0]))[None, :]) ** 2, axis=1)
    nearest = distance.reshape(grid.inside.shape) == jnp.min(distance)
    one_point = grid._replace(inside=nearest)
    found = jax.jit(lambda data, effective: eliminate(data, effective, PHYSICS, settings, one_point))(
        data, covariance_of(TRUTH)
    )
    active = np.asarray(found.fits.active)
    assert active.sum(1).tolist() == [1] + [0] * (SLOTS - 1)
    assert active[0, int(found.weakest[0])]
    np.testing.assert_array_equal(found.residuals[2:], np.full(SLOTS - 1, data.energy))
    assert found.residuals[1] < data.energy


def test_evidence_is_free_of_scale_and_finite(run):
    observation = observe(PHYSICS, TRUTH, AMPLITUDES, noise=0.02)
    _, features = run(observation, covariance_of(TRUTH))
    assert features.values.shape == (SLOTS, SLOTS, num_features(SLOTS))
    chex.assert_tree_all_finite(features.values)
    _, louder = run(observation._replace(snapshots=observation.snapshots * 100), covariance_of(TRUTH))
    np.testing.assert_allclose(louder.values[1], features.values[1], rtol=2e-2, atol=2e-2)


def test_the_likelihood_of_the_range_is_that_of_the_fit(run):
    observation = observe(PHYSICS, TRUTH, AMPLITUDES, noise=0.02)
    found, features = run(observation, covariance_of(TRUTH))
    slot = int(np.argmax(np.asarray(found.fits.active[1])))
    s, std = float(features.likelihood.peak[1, slot]), float(features.likelihood.std[1, slot])
    nearest = TRUTH[np.argmin(np.abs(TRUTH[:, 0] - to_position(found.fits.cosines[1])[slot, 0]))]
    assert abs(s - 1 / nearest[2]) < 5 * std < 0.1
    assert float(to_cosines(jnp.asarray(nearest))[2]) == pytest.approx(1 / nearest[2])


def test_a_scene_that_is_not_finite_has_no_evidence(run):
    observation = observe(PHYSICS, TRUTH, AMPLITUDES)
    broken = observation._replace(snapshots=observation.snapshots.at[0, 0].set(jnp.nan))
    _, features = run(broken, covariance_of(TRUTH))
    assert not np.asarray(features.active).any()
    chex.assert_tree_all_finite(features.values)


def test_the_probability_of_a_slot_is_from_the_fit_where_it_was_the_weakest(run):
    found, _ = run(observe(PHYSICS, TRUTH, AMPLITUDES, noise=0.05), covariance_of(TRUTH))
    said = jnp.linspace(0.9, 0.1, SLOTS)
    np.testing.assert_allclose(existence_of_slots(found, said)[found.weakest], said, atol=1e-6)


def test_the_weakest_source_of_each_fit_is_judged_by_its_features_in_that_fit():
    """Ranges are sure, but for the weakest of the last fit; what is said of others, or in other fits, is ignored."""
    weakest, fits = jnp.asarray([2, 0, 1]), jnp.arange(3)
    logits = jnp.full((3, 3), 9.0).at[fits, weakest].set(jnp.asarray([2.0, 1.0, 0.2]))
    std = jnp.full((3, 3), 10.0).at[fits, weakest].set(jnp.asarray([1e-3, 1e-3, 10.0]))
    likelihood = RangeLikelihood(jnp.full((3, 3), 0.5), std, jnp.zeros((3, 3)))
    features = CandidateFeatures(jnp.zeros((3, 3, 1)), jnp.ones((3, 3), bool), likelihood, jnp.ones((3, 3, 3)))
    field = Field((-1.0, 1.0), (-1.0, 1.0), (0.1, 2.0))
    decision = decide_by_posterior(weakest, features, logits, jnp.zeros((3, 3, 4)), field, SETTINGS)
    np.testing.assert_allclose(decision.probability, jax.nn.sigmoid(jnp.asarray([2.0, 1.0, 0.2])), rtol=1e-6)
    assert int(decision.count) == 2, "of the third, 0.55 likely, the range is hardly known"
    sure = features._replace(likelihood=likelihood._replace(std=jnp.full((3, 3), 1e-3)))
    assert int(decide_by_posterior(weakest, sure, logits, jnp.zeros((3, 3, 4)), field, SETTINGS).count) == 3


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_every_candidate_weighs_as_much_as_it_is_likely(run, count: int):
    """Reported ones stand as in the fit of what is reported, each of the others as in the last fit that held it."""
    found, _ = run(observe(PHYSICS, TRUTH, AMPLITUDES, noise=0.05), covariance_of(TRUTH))
    said = np.linspace(0.9, 0.1, SLOTS)
    weighted = weighted_candidates(found, PosteriorDecision(jnp.asarray(said), jnp.asarray(count), None))
    assert np.asarray(weighted.active).all()
    for k, slot in enumerate(np.asarray(found.weakest)):
        fit = max(k, count - 1)
        expected = np.sqrt(said[k]) * np.asarray(found.fits.amplitude)[fit, slot]
        np.testing.assert_allclose(weighted.amplitude[slot], expected, rtol=1e-5)
        np.testing.assert_allclose(weighted.position[slot], to_position(found.fits.cosines)[fit, slot], rtol=1e-5)


def test_candidates_that_are_not_there_weigh_nothing(run):
    found, _ = run(observe(PHYSICS, TRUTH, AMPLITUDES, noise=0.05), covariance_of(TRUTH))
    alone = found._replace(fits=found.fits._replace(active=found.fits.active.at[1:].set(False)))
    weighted = weighted_candidates(alone, PosteriorDecision(jnp.ones(SLOTS), jnp.asarray(1), None))
    assert np.asarray(weighted.active).tolist() == (np.arange(SLOTS) == int(found.weakest[0])).tolist()
    assert not np.asarray(weighted.amplitude)[~np.asarray(weighted.active)].any()


def test_the_gain_of_a_place_is_what_least_squares_leaves_less():
    observation = observe(PHYSICS, TRUTH, AMPLITUDES, noise=0.1)
    data = statistics(observation, PHYSICS)
    held = jnp.asarray([True, False, False])
    start = to_cosines(jnp.asarray(np.concatenate([TRUTH, TRUTH[:1]])))
    fit = maximise(data, PHYSICS, start, held, iterations=1)
    places = np.array([TRUTH[1], [0.1, 0.2, 1.5], [-0.5, 0.25, 1.0]], np.float32)
    y, channel, codes = (np.asarray(part, np.complex128) for part in observation[:3])
    measurement = np.concatenate([channel * code for code in codes])

    def residual(positions: np.ndarray) -> float:
        columns = measurement @ np.asarray(steer(PHYSICS, positions), np.complex128)
        return np.linalg.lstsq(columns, y.ravel(), rcond=None)[1][0]

    there = np.asarray(to_position(fit.cosines))[:1]
    expected = [residual(there) - residual(np.concatenate([there, place[None]])) for place in places]
    vectors = jnp.asarray(steer(PHYSICS, places)).T
    gain = joining_gain(hold(data, PHYSICS, fit), vectors, search_energy(data, vectors))
    np.testing.assert_allclose(gain, expected, rtol=1e-3)
