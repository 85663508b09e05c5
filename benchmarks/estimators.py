"""Run time of the estimators per scene, without compilation, and of their parts.

    taskset -c 0 python benchmarks/estimators.py          # one core, a few minutes
    python benchmarks/estimators.py --grid 49 25 16       # the pipeline's own grid alone

Scenes of the original profile (12 x 12 elements, 16 x 16 snapshots), batches of 64. Each row is the median of a few
runs after a warm-up, blocked until ready. `scene_cpu_s` is processor time, which on one core is what the clock shows
on an idle machine, and is the figure to compare when the machine is not idle. `ratio` is the original pipeline's time
for the same work on one core (37 s for its MVDR grid of 361 x 181 x 7 with refinement) over ours. Writes
estimators.json beside this file.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import EstimatorConfig, GridConfig, PhysicsConfig
from risjax.config.io import load_config
from risjax.data.stream import scene_batch
from risjax.estimators import localise_greedy, localise_mvdr, make_grid, polish
from risjax.inference.predict.model import load
from risjax.inference.predict.programs import pipeline_of
from risjax.inference.release import load_params
from risjax.keys import Purpose
from risjax.linalg import LowRankCovariance
from risjax.spectral.grid import Grid
from risjax.types import Estimates

ORIGINAL_REFINED_S = 37.0
SCENES, RUNS = 64, 3


def mvdr_at_once(
    covariances: LowRankCovariance, grid: Grid, physics: PhysicsConfig, estimator: EstimatorConfig, scenes: int
) -> Estimates:
    """MVDR with refined peaks on a batch of covariances, ``scenes`` of them at a time."""
    return jax.lax.map(
        lambda covariance: localise_mvdr(covariance, physics, estimator, grid=grid), covariances, batch_size=scenes
    )


def seconds_a_scene(function: Callable, *arguments: object, scenes: int, runs: int = RUNS) -> dict[str, float]:
    """Seconds to compile, and median seconds a scene by the clock and of processor time."""
    started = time.process_time()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_s = time.process_time() - started
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(runs):
        started, used = time.perf_counter(), time.process_time()
        jax.block_until_ready(compiled(*arguments))
        times.append((time.perf_counter() - started, time.process_time() - used))
    clock_s, processor_s = np.median(np.array(times), axis=0) / scenes
    return {"compile_s": compile_s, "scene_s": clock_s, "scene_cpu_s": processor_s}


def main() -> None:
    """Measure and write the table."""
    from machine import machine  # only a script finds it: cuda.py imports this file from the package

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=int, nargs=3, default=(361, 181, 7), help="azimuth, elevation, range points")
    full = GridConfig(**dict(zip(("num_azimuth", "num_elevation", "num_range"), parser.parse_args().grid, strict=True)))
    physics = load_config("quick.yaml").physics
    batch = jax.jit(lambda: scene_batch(physics, 0, Purpose.CALIBRATION_SCENES, 0, SCENES))()
    covariance = LowRankCovariance(batch.truth.label_factor, jnp.full(SCENES, 1e-3))
    rows = []

    def measure(
        name: str, function: Callable, *arguments: object, scenes: int = SCENES, reference: float | None = None
    ):
        seconds = seconds_a_scene(function, *arguments, scenes=scenes)
        row = {"name": name, "batch": scenes} | {key: float(f"{value:.3g}") for key, value in seconds.items()}
        if reference is not None:
            row["ratio"] = round(float(reference / seconds["scene_cpu_s"]), 1)
        rows.append(row)
        print(row, flush=True)

    coarse = EstimatorConfig()
    fine = EstimatorConfig(grid=full)
    for name, config, reference in (
        ("mvdr, full grid, peaks refined", fine, ORIGINAL_REFINED_S),
        ("mvdr, coarse grid, peaks refined", coarse, ORIGINAL_REFINED_S),
    ):
        # scene by scene where the batch's spectra would not fit the caches
        size = 4 if config is fine else SCENES
        part = jax.tree.map(lambda leaf, n=size: leaf[:n], covariance)
        measure(
            f"{name} {config.grid.num_azimuth}x{config.grid.num_elevation}x{config.grid.num_range}",
            lambda c, g, e=config: mvdr_at_once(c, g, physics, e, 4),
            part,
            make_grid(physics, config.grid),
            scenes=size,
            reference=reference,
        )
    greedy_grid = make_grid(physics, coarse.greedy.grid)
    measure(
        "greedy maximum likelihood",
        lambda o, g: jax.vmap(lambda observation: localise_greedy(observation, physics, coarse, grid=g))(o),
        batch.observation,
        greedy_grid,
    )
    start = jax.jit(
        lambda o, g: jax.vmap(lambda observation: localise_greedy(observation, physics, coarse, grid=g))(o)
    )(batch.observation, greedy_grid)
    measure(
        "joint polish, 10 steps",
        lambda o, e: jax.vmap(lambda observation, found: polish(observation, found, physics))(o, e),
        batch.observation,
        start,
    )
    learned = load("original")
    measure(
        "learned pipeline, everything included",
        pipeline_of(learned.config),
        load_params(learned.config, None),
        batch.observation,
    )
    report = {
        "rows": rows,
        **machine(),
        "jax": jax.__version__,
        "dtype": "float32/complex64, matmul precision highest",
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
