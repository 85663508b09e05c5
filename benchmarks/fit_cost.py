"""Cost of the goodness of fit in a batch of 64 scenes: ``python benchmarks/fit_cost.py [--rounds 31]``, a minute.

The compiled pipeline of each released network from snapshots to sources, without and with the checks of
`risjax.detection.goodness_of_fit`, in turns within one process. Prints and writes to fit_cost.json the medians of the
processor time a scene, and the median over rounds of their ratio with a 95 % bootstrap interval.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from machine import machine, processor_seconds

from risjax.covariance import covariance_settings
from risjax.data.stream import scene_batch
from risjax.inference.predict.model import load
from risjax.inference.predict.programs import checked_sources
from risjax.keys import Purpose
from risjax.pipeline import compiled_pipeline

SCENES = 64


def variants(name: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The pipeline of a released network on one batch, without and with the checks."""
    model = load(name)
    config = model.config
    programs = compiled_pipeline(config.physics, config.precision, config.model, config.estimator)
    settings = covariance_settings(config.covariance)
    scenes = jax.jit(lambda: scene_batch(config.physics, 0, Purpose.CALIBRATION_SCENES, 0, SCENES).observation)()

    def checked() -> Any:
        found = programs.covariance_and_field(model.params, scenes, settings)
        return checked_sources(programs, model.params, scenes, found, config.physics)

    return lambda: programs.sources(model.params, scenes, settings), checked


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of processor time a scene of both variants, and their ratio."""
    plain, checked = variants(name)
    used = np.array([[processor_seconds(plain)[0], processor_seconds(checked)[0]] for _ in range(rounds + 1)])[
        1:
    ]  # the first round compiles
    ratios = used[:, 1] / used[:, 0]
    draws = np.median(np.random.default_rng(0).choice(ratios, (2000, rounds)), axis=1)
    milliseconds = [round(float(value), 3) for value in np.median(used, axis=0) / SCENES * 1e3]
    return {
        "network": name,
        "ms_a_scene": dict(zip(("sources", "sources and checks"), milliseconds, strict=True)),
        "ratio": round(float(np.median(ratios)), 4),
        "interval": [round(float(bound), 4) for bound in np.quantile(draws, [0.025, 0.975])],
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    rows = []
    for name in ("original", "default"):
        rows.append(measure(name, rounds))
        print(rows[-1], flush=True)
    report = {
        "rows": rows,
        "batch": SCENES,
        "rounds": rounds,
        **machine(),
        "versions": {"jax": jax.__version__, "python": platform.python_version()},
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
