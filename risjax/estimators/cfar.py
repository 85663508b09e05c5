"""A penalty for a stated false-alarm rate, by simulation of what noise alone does to the search.

The statistic that decides on one more source, 2 L M ln(rho_0 / rho_1), is a ratio of energies: its law under noise
alone does not depend on the noise level (constant false-alarm rate), only on how many independent places the field of
view offers to the search. No formula gives that number well for a near field and random channels; the search does.
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
"""Noise scenes that pass the threshold where a configuration asks for a rate: it is then known to a seventh."""


def stopping_penalty(physics: PhysicsConfig, estimator: EstimatorConfig) -> float:
    """The factor on BIC's penalty that a configuration asks for: ``greedy.penalty``, or ``false_alarm_rate``'s.

    The latter is simulated at the first call, also while a caller is being traced, and kept for the process.
    """
    rate = estimator.greedy.false_alarm_rate
    if rate is None:
        return estimator.greedy.penalty
    return _calibrated(physics, estimator, rate)  # pyright: ignore[reportArgumentType]  (frozen sections are hashable)


@functools.lru_cache(maxsize=8)
def _calibrated(physics: PhysicsConfig, estimator: EstimatorConfig, rate: float) -> float:
    with jax.ensure_compile_time_eval():
        return cfar_penalty(physics, estimator, rate, num_scenes=max(LEAST_SCENES, math.ceil(EXCEEDANCES / rate)))


def null_statistics(physics: PhysicsConfig, estimator: EstimatorConfig, *, num_scenes: int, seed: int) -> np.ndarray:
    """2 L M ln(rho_0 / rho_1) of the best single source in scenes that hold noise alone, [num_scenes].

    Channels and codes are those of `Purpose.CALIBRATION_SCENES`; the snapshots are replaced by white noise.
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

        def one(scene: tuple) -> jax.Array:
            data = statistics(scene[0]._replace(snapshots=scene[1]), single)
            residuals = greedy_path(data, single, estimator, grid_for(grid, single, data.geometry)).residuals
            return 2 * data.num_measurements * jnp.log(residuals[0] / residuals[1])

        return jax.vmap(one)((observation, noise))

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
    """``estimator.greedy.penalty`` for which noise alone yields a source in a share ``false_alarm_rate`` of scenes.

    Args:
        physics: of the scenes; symbols constant.
        estimator: ``greedy.grid`` and ``greedy.iterations``.
        false_alarm_rate: in (0, 1).
        num_scenes: noise scenes simulated; at least ten of them should exceed the threshold.
        seed: of channels and noise.

    Raises:
        ValueError: fewer than ten exceedances are to be expected.
    """
    if not 10 / num_scenes <= false_alarm_rate < 1:
        least = int(np.ceil(10 / max(false_alarm_rate, 1e-9)))
        raise ValueError(
            f"false_alarm_rate must lie below 1, and {false_alarm_rate} needs at least {least} noise scenes, "
            f"got num_scenes = {num_scenes}"
        )
    statistic = null_statistics(physics, estimator, num_scenes=num_scenes, seed=seed)
    real_data = 2 * physics.codebook.num_snapshots * physics.channel.num_antennas
    threshold = float(np.quantile(statistic, 1 - false_alarm_rate))
    return threshold / (PARAMETERS_PER_SOURCE * float(np.log(real_data)))
