"""Conditioning of the measurement model: ``python benchmarks/conditioning.py [--scenes 120] [physics=original ...]``.

Medians over scenes at 10 dB: the condition number of the measurement matrix Phi, and the overlap |<x_hat, x>|^2 of the
field's ridge image (ridge weight from the data alone) with the field, both of unit norm. Without arguments the default
physics and the original's; an argument is an override of base.yaml. Half a minute.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import json

import jax
import numpy as np

from risjax.config import PhysicsConfig
from risjax.config.io import load_config
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.physics.images import regularised_images
from risjax.physics.scene import sources_steering


def figures(physics: PhysicsConfig, scenes: int) -> dict[str, float]:
    """Medians over ``scenes`` scenes."""
    batch = jax.jit(lambda: scene_batch(physics, 0, Purpose.CALIBRATION_SCENES, 0, scenes))()
    images = jax.jit(jax.vmap(lambda scene: regularised_images(scene, (1.0,)).field[0]))(batch.observation)
    vectors = jax.vmap(lambda sources: sources_steering(physics, sources))(batch.truth.sources)
    fields = np.einsum("snk,sk->sn", vectors, batch.truth.sources.amplitude)
    inner = np.abs(np.sum(np.conj(images) * fields, axis=1))
    overlap = (inner / np.linalg.norm(images, axis=1) / np.linalg.norm(fields, axis=1)) ** 2
    channel, codes = np.asarray(batch.observation.channel), np.asarray(batch.observation.codes)
    matrices = (channel[:, None] * codes[:, :, None]).reshape(scenes, -1, channel.shape[-1])
    condition = [np.divide(*np.linalg.svd(matrix, compute_uv=False)[[0, -1]]) for matrix in matrices]
    return {
        "condition_number_of_phi": round(float(np.median(condition)), 1),
        "overlap_at_10_db": round(float(np.median(overlap)), 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=120)
    parser.add_argument("overrides", nargs="*", help="of base.yaml, e.g. physics=original")
    arguments = parser.parse_args()
    for overrides in [arguments.overrides] if arguments.overrides else [[], ["physics=original"]]:
        physics = load_config("base", [*overrides, "physics.scene.snr_db=[10, 10]"]).physics
        print(json.dumps({"overrides": overrides, "scenes": arguments.scenes} | figures(physics, arguments.scenes)))


if __name__ == "__main__":
    main()
