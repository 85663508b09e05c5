"""Run time per scene of the learned pipeline, its parts, and greedy maximum likelihood on the same batches.

    taskset -c 0 python benchmarks/pipeline.py          # one core, two minutes; --batches 16 for a more precise median

Both released networks, each on batches of 64 fresh scenes of its own physics, compilation apart. Every figure is the
median over batches of the processor time, which on one core of an idle machine is what the clock shows. Writes
pipeline.json beside this file.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from machine import machine, processor_seconds

from risjax.data.stream import scene_batch
from risjax.estimators import localise_greedy, make_grid
from risjax.inference.predict.model import load
from risjax.inference.release import load_params
from risjax.keys import Purpose
from risjax.pipeline import Pipeline
from risjax.spectral.grid import Grid
from risjax.types import Estimates, Observation

SCENES = 64


def measure(name: str, batches: int) -> dict[str, Any]:
    """Milliseconds of processor time a scene of a released network's pipeline, its parts, and greedy's."""
    config = load(name).config
    params = load_params(config, None)
    pipeline = Pipeline(config.physics, config.precision, config.model, config.estimator)
    grid = make_grid(config.physics, config.estimator.greedy.grid)
    draw = jax.jit(lambda index: scene_batch(config.physics, 0, Purpose.CALIBRATION_SCENES, index, SCENES).observation)
    covariance = jax.jit(lambda p, o: pipeline.covariance(p, o, config.covariance))
    propose, decide = jax.jit(pipeline.propose), jax.jit(pipeline.decide)
    whole = jax.jit(lambda p, o: pipeline.sources(p, o, config.covariance)[1])

    @jax.jit
    def greedy(seen: Observation, grid: Grid) -> Estimates:
        return jax.vmap(lambda observation: localise_greedy(observation, config.physics, config.estimator, grid=grid))(
            seen
        )

    used: dict[str, list[float]] = {}

    def timed(part: str, function: Callable, *arguments: object) -> Any:
        seconds, result = processor_seconds(function, *arguments)
        used.setdefault(part, []).append(seconds)
        return result

    for index in range(batches + 1):
        seen = jax.block_until_ready(draw(jnp.asarray(index)))
        _, effective = timed("network and R_eff", covariance, params, seen)
        proposals = timed("candidates and their elimination", propose, seen, effective)
        timed("decision", decide, params, proposals)
        timed("learned", whole, params, seen)
        timed("greedy", greedy, seen, grid)
    milliseconds = {part: np.array(seconds[1:]) / SCENES * 1e3 for part, seconds in used.items()}  # the first compiles
    ratios = milliseconds["greedy"] / milliseconds["learned"]
    row = {part: float(f"{np.median(values):.3g}") for part, values in milliseconds.items()}
    return {"network": name, "ms_a_scene": row, "greedy_over_learned": float(f"{np.median(ratios):.3g}")}


def main() -> None:
    """Measure and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=8, help="measured, each of 64 scenes")
    batches = parser.parse_args().batches
    rows = []
    for name in ("original", "default"):
        rows.append(measure(name, batches))
        print(rows[-1], flush=True)
    report = {
        "rows": rows,
        "batch": SCENES,
        "batches": batches,
        **machine(),
        "jax": jax.__version__,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
