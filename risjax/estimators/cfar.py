"""Penalty of the greedy search for a given false-alarm rate, from simulated scenes with noise only.

The statistic for one more source, 2 L M ln(rho_0 / rho_1), is a ratio of energies. Its distribution under noise does
not depend on the noise level (constant false-alarm rate, CFAR), only on the number of independent positions in the
field of view. That number has no accurate formula for a near field and random channels, so the search is
simulated.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.data.stream import scene_batch
from risjax.estimators.forward_selection import PARAMETERS_PER_SOURCE, greedy_path
from risjax.estimators.likelihood import statistics
from risjax.keys import Purpose, purpose_key
from risjax.spectral.grid import grid_for, make_grid

LEAST_SCENES = 1024
EXCEEDANCES = 50
"""Expected number of noise scenes above the threshold; the rate then has a relative standard error of 1/7."""


def stopping_penalty(physics: PhysicsConfig, estimator: EstimatorConfig) -> float:
    """Factor on the penalty of BIC: ``greedy.penalty``, or the one for ``greedy.false_alarm_rate`` if that is set.

    The latter is simulated at the first call, also while a caller is traced, and cached for the process.
    """
    rate = estimator.greedy.false_alarm_rate
    if rate is None:
        return estimator.greedy.penalty
    return _calibrated(physics, estimator, rate)


@functools.lru_cache(maxsize=8)
def _calibrated(physics: PhysicsConfig, estimator: EstimatorConfig, rate: float) -> float:
    with jax.ensure_compile_time_eval():
        return cfar_penalty(physics, estimator, rate, num_scenes=max(LEAST_SCENES, math.ceil(EXCEEDANCES / rate)))


def null_statistics(physics: PhysicsConfig, estimator: EstimatorConfig, *, num_scenes: int, seed: int) -> np.ndarray:
    """2 L M ln(rho_0 / rho_1) of the best single source in scenes that contain noise only, [num_scenes].

    Channels and codes are those of `Purpose.CALIBRATION_SCENES`; white noise replaces the snapshots.
    """
    single = physics.model_copy(
        update={"scene": physics.scene.model_copy(update={"max_sources": 1, "num_sources": (1, 1)})}
    )
    grid = make_grid(single, estimator.greedy.grid)
    size = min(64, num_scenes)

    @jax.jit
    def batch(index: jax.Array) -> jax.Array:
        observation = scene_batch(single, seed, Purpose.CALIBRATION_SCENES, index, size).observation
        key = purpose_key(seed + 1, Purpose.CALIBRATION_SCENES, index)
        noise = jax.random.normal(key, observation.snapshots.shape, observation.snapshots.dtype)

        def statistic(scene: tuple) -> jax.Array:
            data = statistics(scene[0]._replace(snapshots=scene[1]), single)
            residuals = greedy_path(data, single, estimator, grid_for(grid, single, data.geometry)).residuals
            return 2 * data.num_measurements * jnp.log(residuals[0] / residuals[1])

        return jax.vmap(statistic)((observation, noise))

    parts = [np.asarray(batch(jnp.asarray(index))) for index in range(-(-num_scenes // size))]
    return np.concatenate(parts)[:num_scenes]


def cfar_penalty(
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    false_alarm_rate: float,
    *,
    num_scenes: int = 1024,
    seed: int = 0,
) -> float:
    """``estimator.greedy.penalty`` with which a share ``false_alarm_rate`` of scenes with noise only yields a source.

    Args:
        physics: physics of the scenes, with constant symbols.
        estimator: ``greedy.grid`` and ``greedy.iterations``.
        false_alarm_rate: in (0, 1).
        num_scenes: number of simulated scenes, at least 10 / false_alarm_rate.
        seed: seed of channels and noise.

    Raises:
        ValueError: fewer than ten scenes are expected above the threshold.
    """
    if not 10 / num_scenes <= false_alarm_rate < 1:
        least = int(np.ceil(10 / max(false_alarm_rate, 1e-9)))
        raise ValueError(
            f"got false_alarm_rate = {false_alarm_rate} with num_scenes = {num_scenes}, expected a rate below 1 and at "
            f"least {least} noise scenes"
        )
    statistic = null_statistics(physics, estimator, num_scenes=num_scenes, seed=seed)
    real_data = 2 * physics.codebook.num_snapshots * physics.channel.num_antennas
    threshold = float(np.quantile(statistic, 1 - false_alarm_rate))
    return threshold / (PARAMETERS_PER_SOURCE * float(np.log(real_data)))
