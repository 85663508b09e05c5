"""Peak displacement by the interference of two coherent sources: ``python benchmarks/coherent_bias.py [--pairs 3000]``.

Noiseless fields x of two sources of random relative phase, powers within 3 dB, on the default surface. On R = x x^H +
delta I the spectra of MVDR, MUSIC and Bartlett are increasing functions of the same |a^H x|^2, so their peaks are the
same; measured on MVDR's, with K = 2 known. Errors are in beamwidths (half the null-to-null width, 2 / N_H in direction
cosines) and in 1/r (1/m, the depth of a beam). Prints one row for each class of separation (the larger of the two
axes), for all ranges and for ranges above 1 m. Writes coherent_bias.json beside this file. Half a minute.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import EstimatorConfig, PhysicsConfig, SceneConfig
from risjax.estimators import localise_mvdr, make_grid
from risjax.linalg import LowRankCovariance
from risjax.physics.array import steering
from risjax.spectral.grid import to_cosines

PHYSICS = PhysicsConfig(scene=SceneConfig(max_sources=2, num_sources=(1, 2)))
ESTIMATOR = EstimatorConfig()
BEAM = np.array([2 / 12, 2 / 12, 1.0])
CLASSES = ((0, 1), (1, 2), (2, 3), (3, 12))


def errors(pairs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Largest errors of each pair in angle and depth, its separation, all in beamwidths, and its least range."""
    generator = np.random.default_rng(0)
    scene = PHYSICS.scene
    low, high = np.array([[*np.radians(scene.azimuth_deg)], [*np.radians(scene.elevation_deg)], [*scene.range_m]]).T
    position = generator.uniform(low, high, (pairs, 2, 3)).astype(np.float32)
    phase = generator.uniform(size=(pairs, 2))
    amplitude = np.exp(2j * np.pi * phase) * 10 ** (generator.uniform(-3, 0, (pairs, 2)) / 20)
    vectors = steering(PHYSICS.array, jnp.asarray(position))
    field = jnp.einsum("sk,skn->sn", jnp.asarray(amplitude, jnp.complex64), vectors)
    field = field * 12 / jnp.linalg.norm(field, axis=1, keepdims=True)
    grid = make_grid(PHYSICS, ESTIMATOR.grid)

    def localise_field(field: jax.Array) -> jax.Array:
        covariance = LowRankCovariance(field[:, None], jnp.asarray(1e-2))
        return to_cosines(localise_mvdr(covariance, PHYSICS, ESTIMATOR, jnp.asarray(2), grid=grid).position)

    found = np.asarray(jax.jit(lambda fields: jax.lax.map(localise_field, fields, batch_size=64))(field))
    truth = np.asarray(to_cosines(jnp.asarray(position)))
    orders = np.stack([np.abs(found - truth), np.abs(found[:, ::-1] - truth)]) / BEAM
    best = orders[..., :2].max((2, 3)).argmin(0)
    error = orders[best, np.arange(pairs)]
    separation = (np.abs(truth[:, 0] - truth[:, 1]) / BEAM)[:, :2].max(1)
    return error, separation, position[..., 2].min(1)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3000)
    error, separation, nearest_m = errors(parser.parse_args().pairs)
    angle, depth = error[..., :2].max((1, 2)), error[..., 2].max(1)
    rows = []
    for least_m in (0.5, 1.0):
        for low, high in CLASSES:
            chosen = (separation >= low) & (separation < high) & (nearest_m >= least_m)
            row = {"range_from_m": least_m, "separation_beams": [low, high], "pairs": int(chosen.sum())}
            for name, values in (("angle", angle[chosen]), ("depth", depth[chosen])):
                row |= {f"{name}_median": np.median(values), f"{name}_95": np.quantile(values, 0.95)}
                row |= {f"{name}_within_tenth": np.mean(values < 0.1)}
            rows.append({key: round(float(v), 3) if isinstance(v, np.floating) else v for key, v in row.items()})
            print(rows[-1])
    Path(__file__).with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
