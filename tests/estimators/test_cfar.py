"""The false-alarm rate that was asked for is the one that other noise scenes show."""

import numpy as np
import pytest

from risjax.config import EstimatorConfig, GridConfig
from risjax.config.estimator import GreedyConfig
from risjax.estimators.cfar import cfar_penalty, null_statistics
from tests.estimators.scenes import small_physics


@pytest.mark.slow
def test_rate() -> None:
    physics = small_physics()
    grid = GridConfig(num_azimuth=17, num_elevation=11, num_range=5)
    estimator = EstimatorConfig(greedy=GreedyConfig(grid=grid, iterations=6))
    penalty = cfar_penalty(physics, estimator, 0.1, num_scenes=512)
    fresh = null_statistics(physics, estimator, num_scenes=512, seed=77)
    rate = np.mean(fresh > penalty * 5 * np.log(2 * 10 * 8))
    assert rate == pytest.approx(0.1, abs=4 * np.sqrt(0.1 * 0.9 / 512 * 2))


def test_a_rate_beyond_the_simulation_is_refused() -> None:
    with pytest.raises(ValueError, match="noise scenes"):
        cfar_penalty(small_physics(), EstimatorConfig(), 1e-4, num_scenes=100)
