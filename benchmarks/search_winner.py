"""Best trial of a search against the default, on new scenes: ``python benchmarks/search_winner.py [--out FILE]``.

A small search (8 x 8 elements, a network of width 32; every trial a few hundred steps) over how the network learns, how
its covariance is used and where sources stop. Candidates come from the learned spectrum alone
(``residual_rounds: 0``): with the search of the residual, whatever a network of this size learns in a minute makes no
difference to the GOSPA of the whole pipeline that 1024 scenes could show.

Then the best trial, the median trial and the default configuration localise the same fresh scenes; their GOSPA
is compared scene by scene, with 95 % intervals of the mean difference. Search and evaluation use the pipeline's own
functions; all three are trained as long as a trial.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import Config, Distribution
from risjax.config.io import apply_overrides, load_config
from risjax.data.stream import scene_batch
from risjax.experiments.search.directories import trial_path
from risjax.experiments.search.record import TrialRecord
from risjax.experiments.search.space import trial_config
from risjax.experiments.search.study import search
from risjax.keys import Purpose
from risjax.metrics.detection import gospa
from risjax.pipeline import Pipeline
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train import load_best, train
from risjax.train.settings import make_settings

SPACE = {
    "train.learning_rate": Distribution(log_uniform=(1.0e-4, 4.0e-2)),
    "train.clip_norm": Distribution(log_uniform=(0.1, 10.0)),
    "train.ema_decay": Distribution(uniform=(0.9, 0.995)),
    "loss.projector.weight": Distribution(uniform=(0.0001, 2.0)),
    "covariance.blend": Distribution(uniform=(0.0, 0.5)),
    "covariance.loading": Distribution(log_uniform=(1.0e-4, 1.0e-1)),
    "estimator.greedy.penalty": Distribution(choice=(0.5, 1.0, 2.0)),
}
SMALL = {
    "physics.array.num_horizontal": 8,
    "physics.array.num_vertical": 8,
    "physics.codebook.num_snapshots": 12,
    "physics.scene.max_sources": 4,
    "physics.scene.num_sources": [1, 4],
    "precision.compute": "float32",
    "model.width": 32,
    "model.layers": 2,
    "model.heads": 2,
    "model.rank": 4,
    "model.patch": 2,
    "estimator.grid.num_azimuth": 25,
    "estimator.grid.num_elevation": 13,
    "estimator.grid.num_range": 6,
    "estimator.posterior.residual_rounds": 0,
    "train.batch_size": 16,
    "train.validation_scenes": 128,
    "search.metric": "gospa_m",
    "search.pruner": "median",
    "search.startup_trials": 6,
}


def make_config(arguments: argparse.Namespace) -> Config:
    """Return the default configuration at a reduced size."""
    lengths = {"search.trials": arguments.trials, "search.epochs": arguments.epochs}
    values = SMALL | lengths | {"train.steps_per_epoch": arguments.steps, "train.epochs": arguments.epochs}
    config = apply_overrides(load_config("base"), values | {"stages": ["search"]})
    return config.model_copy(update={"search": config.search.model_copy(update={"space": SPACE})})


def errors_m(config: Config, directory: RunDirectory, scenes: int) -> np.ndarray:
    """GOSPA of a trained network on each of the fresh scenes."""
    pipeline = Pipeline(config.physics, config.precision, config.model, config.estimator)
    params, covariance, size = load_best(config, directory), make_settings(config).covariance, 64

    @jax.jit
    def localise(index: jax.Array) -> tuple[Any, Any]:
        batch = scene_batch(config.physics, config.run.seed, Purpose.TEST_SCENES, index, size)
        return pipeline.sources(params, batch.observation, covariance)[1], batch.truth.sources

    found = []
    for index in range(-(-scenes // size)):
        estimates, truth = jax.device_get(localise(jnp.asarray(index)))
        sizes = (estimates.position, estimates.active, truth.position, truth.active)
        found.append(gospa(*sizes, config.evaluate.tolerance).distance_m)
    return np.concatenate(found)[:scenes]


def compared(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Mean of first minus second over the same scenes, with the ends of its 95 % interval."""
    difference = first - second
    half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    return {"value": difference.mean(), "low": difference.mean() - half, "high": difference.mean() + half}


def median_trial(trials: tuple[TrialRecord, ...]) -> TrialRecord:
    """The trial in the middle: pruned ones count as worse than all that were completed, by their last value."""

    def worth(trial: TrialRecord) -> tuple[bool, float]:
        last = list(trial.intermediate.values())[-1] if trial.intermediate else float("inf")
        return (trial.value is None, trial.value if trial.value is not None else last)

    return sorted(trials, key=worth)[len(trials) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60, help="an epoch")
    parser.add_argument("--scenes", type=int, default=1024, help="fresh ones")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    config, started = make_config(arguments), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        directory, quiet = RunDirectory(Path(folder) / "search"), Terminal(quiet=True)
        outcome = search(config, directory, quiet)
        winner = next(trial for trial in outcome.trials if trial.is_best)
        middle = median_trial(outcome.trials)
        values = {"winner": winner.params, "median trial": middle.params, "default": {}}
        errors = {}
        for name, params in values.items():
            trained, where = trial_config(config, params), RunDirectory(Path(folder) / name)
            if name == "winner":
                where = RunDirectory(trial_path(directory, winner.number, winner.attempts - 1))
            else:
                train(trained, where, quiet)
            errors[name] = errors_m(trained, where, arguments.scenes)
    figures = {
        "what": "GOSPA in metres on fresh scenes; differences are paired, negative is better, 95 % intervals",
        "mean": {name: float(each.mean()) for name, each in errors.items()},
        "winner minus median trial": compared(errors["winner"], errors["median trial"]),
        "winner minus default": compared(errors["winner"], errors["default"]),
        "trials": {state: sum(t.state == state for t in outcome.trials) for state in ("complete", "pruned", "failed")},
        "validation": {"winner": winner.value, "median trial": middle.value},
        "params": {"winner": winner.params, "median trial": middle.params},
        "steps a trial": arguments.steps * arguments.epochs,
        "scenes": arguments.scenes,
        "minutes": (time.perf_counter() - started) / 60,
        "jax": jax.__version__,
        "device": f"{jax.devices()[0].device_kind}, {platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(figures, indent=2, default=float))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2, default=float) + "\n")


if __name__ == "__main__":
    main()
