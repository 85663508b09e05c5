"""Rates of ``misfit`` and ``no_signal`` on valid data and under wrong conventions.

    python benchmarks/goodness_of_fit.py                    # both released networks, 1,024 scenes a case, 10 minutes
    python benchmarks/goodness_of_fit.py --scenes 256 --networks default

Scenes of `Purpose.TEST_SCENES` of each network's physics, seed 0; each scene has its own random order of the elements
where the elements are reordered. The thresholds were chosen on `Purpose.CALIBRATION_SCENES`. Writes
goodness_of_fit.json beside this file after every case, with the rates at 10 dB and above, from 0 dB and below 0 dB,
the least `MeasuredField.evenness` of valid data, and the table of docs/predict.md. Cases that the file contains are
not measured again; delete it to measure them again.
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
from numpy.typing import ArrayLike
from pages import rewrite

from risjax.config.io import load_config
from risjax.data.stream import scene_batch
from risjax.inference.predict.model import Model, load
from risjax.keys import Purpose
from risjax.physics.images import regularised_images
from risjax.physics.scaling import normalise_scene
from risjax.types import Observation

BATCH = 64
NETWORKS = ("original", "default")
SNR_DB = {"10 dB and above": (10, np.inf), "0 dB and above": (0, np.inf), "below 0 dB": (-np.inf, 0)}

Change = Callable[[Observation, np.ndarray], Observation]


def _reordered(array: ArrayLike, order: np.ndarray) -> np.ndarray:
    values = np.asarray(array)
    return np.take_along_axis(values, np.broadcast_to(order[:, None, :], values.shape), axis=2)


def _columns_first(array: ArrayLike) -> np.ndarray:
    """Elements counted along the vertical axis first, on a square surface."""
    values = np.asarray(array)
    side = round(values.shape[2] ** 0.5)
    return values[:, :, np.arange(side * side).reshape(side, side).T.ravel()]


CASES: dict[str, Change] = {
    "valid data": lambda o, order: o,
    "y, H and codes conjugated": lambda o, order: jax.tree.map(np.conj, o),
    "elements of H and codes reordered": lambda o, order: o._replace(
        channel=_reordered(o.channel, order), codes=_reordered(o.codes, order)
    ),
    "channel of another scene": lambda o, order: o._replace(channel=np.roll(o.channel, 1, axis=0)),
    "columns of H alone reordered": lambda o, order: o._replace(channel=_reordered(o.channel, order)),
    "codes alone reordered": lambda o, order: o._replace(codes=_reordered(o.codes, order)),
    "codes in reversed order": lambda o, order: o._replace(codes=np.asarray(o.codes)[:, ::-1]),
    "y alone conjugated": lambda o, order: o._replace(snapshots=o.snapshots.conj()),
    "H alone conjugated": lambda o, order: o._replace(channel=o.channel.conj()),
    "y transposed": lambda o, order: o._replace(snapshots=o.snapshots.swapaxes(1, 2)),
    "a lost snapshot: y is one row ahead of its codes": lambda o, order: o._replace(
        snapshots=np.roll(o.snapshots, -1, axis=1)
    ),
    "the surface's two axes swapped in H and codes": lambda o, order: o._replace(
        channel=_columns_first(o.channel), codes=_columns_first(o.codes)
    ),
}
"""Name of each case, and the scenes of a batch under it, given a random order of the elements of each scene."""
EVENNESS = {
    "original": ("original.yaml", []),
    "default physics, DFT codes": ("base.yaml", ["physics.codebook.kind=dft"]),
    "default physics, random codes": ("base.yaml", ["physics.codebook.kind=random"]),
}
"""Configuration and settings of the physics whose measurements `evenness` describes."""


def measure(model: Model, change: Change, scenes: int) -> dict[str, Any]:
    """Rates of the flags by SNR."""
    physics, rng = model.config.physics, np.random.default_rng(0)
    draw = jax.jit(lambda index: scene_batch(physics, 0, Purpose.TEST_SCENES, index, BATCH))
    flags, snr_db = [], []
    for index in range(-(-scenes // BATCH)):
        drawn = jax.device_get(draw(index))
        order = rng.random((BATCH, physics.array.num_elements)).argsort(axis=1)
        _, diagnostics = model.estimate(change(drawn.observation, order), BATCH)
        flags.append(np.stack([diagnostics.misfit, diagnostics.no_signal]))
        snr_db.append(drawn.truth.snr_db)
    (misfit, no_signal), snr = np.concatenate(flags, axis=1), np.concatenate(snr_db)
    rates = {"misfit": misfit, "no_signal": no_signal, "either": misfit | no_signal}
    return {
        level: {"scenes": int(chosen.sum())}
        | {name: round(float(values[chosen].mean()), 4) for name, values in rates.items()}
        for level, (low, high) in SNR_DB.items()
        for chosen in [(snr >= low) & (snr < high)]
    }


def evenness(config: str, overrides: list[str], scenes: int) -> dict[str, Any]:
    """Least evenness of the measurement and its 1 % quantile, over valid scenes of a configuration's physics."""
    physics = load_config(config, overrides).physics

    @jax.jit
    def of_batch(index: jax.Array) -> jax.Array:
        observation = scene_batch(physics, 0, Purpose.TEST_SCENES, index, BATCH).observation
        return jax.vmap(lambda one: regularised_images(normalise_scene(one)[0], (1.0,)).measured.evenness)(observation)

    values = np.concatenate([jax.device_get(of_batch(index)) for index in range(-(-scenes // BATCH))])
    least, low = float(values.min()), float(np.quantile(values, 0.01))
    return {"snr_db": list(physics.scene.snr_db), "scenes": len(values), "least": round(least, 3), "1 %": round(low, 3)}


def table(networks: dict[str, Any]) -> str:
    """Markdown: the rates at 10 dB and above of every case, and those of valid data from 0 dB."""
    lines = ["| | " + " | ".join(f"`{name}`: `misfit` | `no_signal` | either" for name in networks) + " |"]
    lines.append("|---|" + "---|" * (3 * len(networks)))
    rows = [("valid data, ≥ 0 dB", "valid data", "0 dB and above"), ("valid data, < 0 dB", "valid data", "below 0 dB")]
    rows += [(f"{case}, ≥ 10 dB", case, "10 dB and above") for case in CASES]
    for title, case, level in rows:
        cells = [networks[name][case][level] for name in networks]
        shown = [f"{cell[flag]:.3f}" for cell in cells for flag in ("misfit", "no_signal", "either")]
        lines.append(f"| {title} | " + " | ".join(shown) + " |")
    counts = [f"{networks[name]['valid data']['10 dB and above']['scenes']} (`{name}`)" for name in networks]
    return "\n".join([*lines, "", f"Scenes at 10 dB and above: {', '.join(counts)}."])


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1024)
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    arguments = parser.parse_args()
    path = Path(__file__).with_suffix(".json")
    report = json.loads(path.read_text()) if path.exists() else {}
    networks = report.get("networks", {})
    versions = {"jax": jax.__version__, "python": platform.python_version()}
    report = {"seed": 0, "versions": versions, "evenness": report.get("evenness", {}), "networks": networks}
    for name, (config, overrides) in EVENNESS.items():
        if name not in report["evenness"]:
            report["evenness"][name] = evenness(config, overrides, arguments.scenes)
            path.write_text(json.dumps(report, indent=1) + "\n")
    for name in arguments.networks:
        model = load(name)
        for case, change in CASES.items():
            if case in networks.setdefault(name, {}):
                continue
            networks[name][case] = measure(model, change, arguments.scenes)
            print(name, case, json.dumps(networks[name][case]), flush=True)
            path.write_text(json.dumps(report, indent=1) + "\n")
    if all(len(networks.get(name, {})) == len(CASES) for name in NETWORKS):
        rewrite("predict.md", {"flags": table({name: networks[name] for name in NETWORKS})})


if __name__ == "__main__":
    main()
