"""The false-alarm rate that was asked for is the one that other noise scenes show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from risjax.config import EstimatorConfig, GridConfig
from risjax.config.estimator import GreedyConfig
from risjax.estimators import cfar, localise_greedy, make_grid
from risjax.estimators.cfar import cfar_penalty, stopping_penalty
from risjax.types import Observation
from tests.estimators.scenes import observe, small_physics

PHYSICS = small_physics(max_sources=1)
GRID = GridConfig(num_azimuth=17, num_elevation=11, num_range=5)
RATE, SCENES = 0.1, 400


def _estimator(**stopping: float) -> EstimatorConfig:
    return EstimatorConfig(greedy=GreedyConfig(grid=GRID, iterations=6, **stopping))


@pytest.mark.slow
def test_noise_scenes_have_the_stated_false_alarm_rate(monkeypatch) -> None:
    """Calibrated while the caller is traced, on 512 scenes; tried on 400 others, of another channel and noise."""
    monkeypatch.setattr(cfar, "EXCEEDANCES", 1)
    monkeypatch.setattr(cfar, "LEAST_SCENES", 512)
    estimator, grid = _estimator(false_alarm_rate=RATE), make_grid(PHYSICS, GRID)
    random = np.random.default_rng(5)
    base = observe(PHYSICS, np.array([[0.1, 0.1, 1.0]], np.float32), np.zeros(1), seed=7)
    noise = random.normal(size=(SCENES, *base.snapshots.shape, 2)).astype(np.float32).view(np.complex64)[..., 0]

    @jax.jit
    def alarms(noise: jax.Array) -> jax.Array:
        def has_alarm(snapshots: jax.Array) -> jax.Array:
            observation = Observation(snapshots, base.channel, base.codes)
            return localise_greedy(observation, PHYSICS, estimator, grid=grid).active.any()

        return jax.vmap(has_alarm)(noise)

    rate = float(np.mean(alarms(jnp.asarray(noise))))
    assert rate == pytest.approx(RATE, abs=4 * np.sqrt(RATE * (1 - RATE) * (1 / SCENES + 1 / 512)))


def test_the_configured_rate_sets_the_penalty_of_greedy(monkeypatch) -> None:
    """The rate is turned into a penalty while the caller is traced; a source that BIC keeps falls to a huge one."""
    asked = []

    def calibrated(physics, estimator, rate, *, num_scenes):
        asked.append((rate, num_scenes))
        return 1e4

    monkeypatch.setattr(cfar, "cfar_penalty", calibrated)
    observation = observe(PHYSICS, np.array([[0.1, 0.1, 1.0]], np.float32), np.ones(1), noise=0.02)

    def count(estimator: EstimatorConfig) -> int:
        found = jax.jit(lambda o: localise_greedy(o, PHYSICS, estimator, grid=make_grid(PHYSICS, GRID)))(observation)
        return int(found.active.sum())

    assert (count(_estimator()), count(_estimator(false_alarm_rate=0.01))) == (1, 0)
    assert asked == [(0.01, 5000)]
    assert stopping_penalty(PHYSICS, _estimator(penalty=1.3)) == 1.3


def test_a_rate_too_small_for_the_number_of_scenes_is_refused() -> None:
    with pytest.raises(ValueError, match="noise scenes"):
        cfar_penalty(PHYSICS, EstimatorConfig(), 1e-4, num_scenes=100)


def test_two_stopping_rules_are_refused() -> None:
    with pytest.raises(ValidationError, match="two stopping rules"):
        _estimator(penalty=1.3, false_alarm_rate=0.01)
