"""Steering, spectra, matching and metrics against NumPy and SciPy, written from their definitions.

(R_eff against its dense equation: tests/test_covariance.py; Woodbury and Cholesky: tests/linalg.)
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from risjax.config import ArrayConfig, ToleranceConfig
from risjax.linalg import LowRankCovariance
from risjax.metrics.matching import match
from risjax.metrics.summary import summarise
from risjax.physics.array import element_positions, steering
from risjax.spectral.spectrum import bartlett_spectrum, mvdr_spectrum
from risjax.types import Estimates, Sources

ROUNDING = {"float32": 2.0**-23, "float64": 2.0**-52}
TOLERANCE = ToleranceConfig()


def positions(count: int, seed: int = 0) -> np.ndarray:
    low, high = np.array([-1.0, -0.5, 0.5]), np.array([1.0, 0.5, 10.0])
    return low + (high - low) * np.random.default_rng(seed).random((count, 3))


def steering_reference(array: ArrayConfig, position: np.ndarray) -> np.ndarray:
    azimuth, elevation, distance = position
    plane = element_positions(array)
    along = plane[:, 0] * np.sin(azimuth) * np.cos(elevation) + plane[:, 1] * np.sin(elevation)
    square = (plane**2).sum(1)
    path = {
        "spherical": np.sqrt(distance**2 - 2 * distance * along + square),
        "fresnel": distance - along + (square - along**2) / (2 * distance),
        "paraxial": distance - along + square / (2 * distance),
    }[array.wavefront]
    return np.exp(1j * 2 * np.pi / array.wavelength_m * (distance - path)) / np.sqrt(len(plane))


@pytest.mark.parametrize("wavefront", ["spherical", "fresnel", "paraxial"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steering(wavefront, dtype):
    array, where = ArrayConfig(wavefront=wavefront), positions(20)
    with jax.enable_x64(dtype == "float64"):
        ours = steering(array, jnp.asarray(where, dtype))
        # The phase reaches some 40 rad and is as exact as a dozen operations on numbers of that size.
        tolerance = 12 * 40 * ROUNDING[dtype] / 12
        expected = np.stack([steering_reference(array, position) for position in where])
        np.testing.assert_allclose(ours, expected, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mvdr_and_bartlett_are_the_quotients_of_the_dense_matrix(dtype):
    array, loading = ArrayConfig(num_horizontal=6, num_vertical=6), 1e-2
    rng = np.random.default_rng(1)
    factor = rng.normal(size=(36, 4)) + 1j * rng.normal(size=(36, 4))
    factor *= np.sqrt(36 / np.sum(np.abs(factor) ** 2))
    dense = factor @ factor.conj().T + loading * np.eye(36)
    vectors = np.stack([steering_reference(array, position) for position in positions(50, 2)])
    solved = scipy.linalg.cho_solve(scipy.linalg.cho_factor(dense), vectors.T)
    expected = 1 / np.einsum("gn,ng->g", vectors.conj(), solved).real
    with jax.enable_x64(dtype == "float64"):
        kind = np.result_type(dtype, np.complex64)
        covariance = LowRankCovariance(jnp.asarray(factor, kind), jnp.asarray(loading, dtype))
        seen = jnp.asarray(vectors, kind)
        # a^H R^-1 a is a difference of numbers near one, no smaller than loading / (largest eigenvalue).
        conditioning = np.linalg.cond(dense)
        np.testing.assert_allclose(mvdr_spectrum(covariance, seen), expected, rtol=4 * conditioning * ROUNDING[dtype])
        quadratic = np.einsum("gn,nm,gm->g", vectors.conj(), dense, vectors).real
        np.testing.assert_allclose(bartlett_spectrum(covariance, seen), quadratic, rtol=200 * ROUNDING[dtype])


def some_estimates(seed: int, scenes: int = 40) -> tuple[Estimates, Sources]:
    """Three slots each; estimates near the truth, in another order, some missing, some false."""
    rng = np.random.default_rng(seed)
    true = np.stack([positions(3, seed + scene) for scene in range(scenes)])
    active = rng.random((scenes, 3)) < 0.8
    noise = rng.normal(size=true.shape) * np.array([0.04, 0.04, 0.5])
    order = np.stack([rng.permutation(3) for _ in range(scenes)])
    estimated = np.take_along_axis(true + noise, order[..., None], 1)
    claimed = rng.random((scenes, 3)) < 0.8
    nothing = np.zeros((scenes, 3))
    known = {"position": estimated, "active": claimed, "std": np.full_like(true, np.inf)}
    estimates = Estimates._make(known.get(field, nothing) for field in Estimates._fields)
    return estimates, Sources._make((true, nothing.astype(complex), active))


def best_pairs(estimated: np.ndarray, true: np.ndarray, gate: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return the largest number of pairs within the gate with the least sum of squares, by exhaustive search."""
    best: tuple[float, tuple] = (np.inf, ())
    count = min(len(estimated), len(true))
    for size in range(count, 0, -1):
        for rows in itertools.combinations(range(len(true)), size):
            for columns in itertools.permutations(range(len(estimated)), size):
                scaled = np.abs(estimated[list(columns)] - true[list(rows)])[:, : len(gate)] / gate
                if (scaled <= 1).all() and (scaled**2).sum() < best[0]:
                    best = float((scaled**2).sum()), tuple(zip(rows, columns, strict=True))
        if best[1]:
            break
    return best[1]


def test_matching_is_the_best_of_all_assignments_and_the_metrics_are_their_definitions():
    estimates, sources = some_estimates(5)
    gate = np.array([np.radians(TOLERANCE.azimuth_deg), np.radians(TOLERANCE.elevation_deg), TOLERANCE.range_m])
    position, active, true, true_active = (
        np.asarray(leaf) for tree in (estimates, sources) for leaf in (tree.position, tree.active)
    )
    summary = summarise({"one": estimates}, sources, TOLERANCE, draws=20)["methods"]["one"]["overall"]
    for name, width in (("3d", 3), ("angle", 2)):
        found = match(position, active, true, true_active, TOLERANCE, gate_range=width == 3).estimate
        hits, errors = 0, []
        for scene in range(len(found)):
            slots = np.flatnonzero(sources.active[scene]), np.flatnonzero(estimates.active[scene])
            pairs = best_pairs(position[scene, slots[1]], true[scene, slots[0]], gate[:width])
            expected = np.full(3, -1)
            for row, column in pairs:
                expected[slots[0][row]] = slots[1][column]
                errors.append(estimates.position[scene, slots[1][column]] - sources.position[scene, slots[0][row]])
            np.testing.assert_array_equal(found[scene], expected)
            hits += len(pairs)
        claimed, existing = estimates.active.sum(), sources.active.sum()
        for metric, value in (
            (f"precision_{name}", hits / claimed),
            (f"recall_{name}", hits / existing),
            (f"f1_{name}", 2 * hits / (claimed + existing)),
        ):
            assert summary[metric]["value"] == pytest.approx(value, rel=1e-5)  # metrics.json has six digits
        if name == "angle":
            azimuth, _, range_m = np.array(errors).T
            assert summary["rmse_azimuth_deg"]["value"] == pytest.approx(np.degrees(np.sqrt(np.mean(azimuth**2))), 1e-5)
            assert summary["rmse_range_m"]["value"] == pytest.approx(np.sqrt(np.mean(range_m**2)), 1e-5)
