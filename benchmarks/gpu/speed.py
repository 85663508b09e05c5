"""Parts that count scenes a second: their generation, MVDR on the full grid, the whole pipeline."""

import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.estimators import mvdr_at_once, seconds_a_scene
from benchmarks.gpu.configs import resized, trained_model
from benchmarks.gpu.parts import figure
from benchmarks.scene_throughput import median_rates, scene_variants
from risjax.config import GridConfig
from risjax.config.io import load_config
from risjax.data.stream import scene_batch
from risjax.estimators import make_grid
from risjax.inference.predict.programs import pipeline_of
from risjax.keys import Purpose
from risjax.linalg import LowRankCovariance
from risjax.types import Observation


def scenes(*, rehearse: bool) -> Iterator[dict[str, Any]]:
    """Scenes of the default physics and of the original's, by batch size."""
    for batch in (8,) if rehearse else (4096, 16384):
        drawn = {name: make for name, make in scene_variants(batch).items() if "x_hat" not in name}
        for name, rate in median_rates(drawn, batch, 7, time.perf_counter).items():
            physics = name.partition(":")[0]
            yield figure(f"scenes a second, {physics} physics, batch {batch}", rate, at_least=300_000)


def mvdr(*, rehearse: bool) -> Iterator[dict[str, Any]]:
    """MVDR on the full grid, some scenes at a time."""
    config = resized(load_config("quick"), rehearse=rehearse)
    points = (13, 7, 4) if rehearse else (361, 181, 7)
    grid = GridConfig(**dict(zip(("num_azimuth", "num_elevation", "num_range"), points, strict=True)))
    estimator = config.estimator.model_copy(update={"grid": grid})
    count = 8 if rehearse else 256
    draw = jax.jit(lambda: scene_batch(config.physics, 0, Purpose.CALIBRATION_SCENES, 0, count).truth.label_factor)
    covariances, made = LowRankCovariance(draw(), jnp.full(count, 1e-3)), make_grid(config.physics, grid)
    for at_once in (4,) if rehearse else (16, 64):
        seconds = seconds_a_scene(
            lambda c, g, n=at_once: mvdr_at_once(c, g, config.physics, estimator, n), covariances, made, scenes=count
        )
        shown = " x ".join(map(str, points))
        yield figure(f"scenes a second, {shown}, {at_once} at once", 1 / seconds["scene_s"], at_least=500)


def pipeline(*, rehearse: bool) -> Iterator[dict[str, Any]]:
    """Scenes a second of the whole pipeline, by batch size."""
    model = trained_model(rehearse=rehearse)

    def draw(batch: int) -> Observation:
        made = jax.jit(lambda: scene_batch(model.config.physics, 0, Purpose.CALIBRATION_SCENES, 0, batch).observation)
        return jax.block_until_ready(made())

    for batch in (1, 4) if rehearse else (1, 64, 4096):
        seconds = seconds_a_scene(pipeline_of(model.config), model.params, draw(batch), scenes=batch, runs=10)
        compile_s = round(float(seconds["compile_s"]), 1)
        yield figure(f"scenes a second, batch {batch}", 1 / seconds["scene_s"], compile_cpu_s=compile_s)
