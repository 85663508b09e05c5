"""Detection threshold of a blind spectrum: ``python benchmarks/threshold.py [--method mvdr] [overrides]``.

Scenes of `Purpose.CALIBRATION_SCENES`, which no training, validation or evaluation draws. The method runs once with a
threshold of 60 dB; its scores, dB below the scene's highest peak, are then cut at every threshold. Prints F1,
precision, recall and the mean error of K against the threshold, marks the best of each F1, and writes threshold.json
beside this file, one entry for each method and configuration. A minute or two for 512 scenes.

    python benchmarks/threshold.py                                        # MVDR on the sample covariance, quick.yaml
    python benchmarks/threshold.py --method learned_mvdr --run runs/quick # with the network that a run has trained
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import json
from pathlib import Path

import jax
import numpy as np

from risjax.config import Config, ToleranceConfig
from risjax.config.io import apply_overrides, load_config
from risjax.data.stream import scene_batch
from risjax.experiments.evaluate.methods import LEARNED, Batch, make_method
from risjax.inference.release import load_params
from risjax.keys import Purpose
from risjax.metrics.quick import quick
from risjax.runs.run_directory import RunDirectory
from risjax.types import Estimates, Sources

THRESHOLDS_DB = (0.5, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 25, 30)
OPEN_DB = 60.0
BATCH = 32


def run(config: Config, method: str, directory: Path | None, scenes: int) -> tuple[Estimates, Sources]:
    """The method's estimates with an open threshold on the calibration scenes, and the truth."""
    physics = config.physics
    if method in LEARNED and directory is None:
        raise SystemExit(f"{method} needs --run, a run directory with a trained network")
    params = load_params(config, RunDirectory(directory)) if directory else None
    opened = apply_overrides(config, {"estimator.threshold_db": OPEN_DB})
    localise = make_method(opened, physics, method, params)  # pyright: ignore[reportArgumentType]

    draw = jax.jit(lambda index: scene_batch(physics, config.run.seed, Purpose.CALIBRATION_SCENES, index, BATCH))

    def batch(index: int) -> tuple[Estimates, Sources]:
        scene = draw(index)
        return localise(Batch(scene.observation, None, None)).estimates, scene.truth.sources

    parts = [jax.device_get(batch(index)) for index in range(-(-scenes // BATCH))]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:scenes], *parts)


def sweep(estimates: Estimates, sources: Sources) -> list[dict[str, float]]:
    """The figures at every threshold."""
    rows = []
    for threshold_db in THRESHOLDS_DB:
        cut = estimates._replace(active=estimates.active & (estimates.score > -threshold_db))
        figures = quick(cut, sources, ToleranceConfig())
        bias = float((cut.active.sum(1) - sources.active.sum(1)).mean())
        names = ("f1_3d", "f1_angle", "precision_angle", "recall_angle")
        rows.append({"threshold_db": threshold_db} | {n: round(figures[n], 3) for n in names} | {"k": round(bias, 2)})
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="mvdr")
    parser.add_argument("--run", type=Path, help="a run directory with a trained network")
    parser.add_argument("--config", default="quick")
    parser.add_argument("--scenes", type=int, default=512)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides)
    rows = sweep(*run(config, arguments.method, arguments.run, arguments.scenes))
    best = {name: max(rows, key=lambda row, n=name: row[n])["threshold_db"] for name in ("f1_3d", "f1_angle")}
    for row in rows:
        marks = [f"<- best {name}" for name, value in best.items() if value == row["threshold_db"]]
        print("  ".join([*(f"{name} {value:g}" for name, value in row.items()), *marks]))
    path = Path(__file__).with_suffix(".json")
    report = json.loads(path.read_text()) if path.exists() else {}
    name = " ".join([arguments.method, arguments.config, *arguments.overrides])
    report[name] = {"scenes": arguments.scenes, "default": config.estimator.threshold_db, "best": best, "rows": rows}
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
