"""Proposals for the decision: candidates of a scene with their fits and features, or peaks with theirs."""

from typing import NamedTuple

import jax
from jaxtyping import Array

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.detection.candidate_features import CandidateFeatures, candidate_features, drops
from risjax.detection.candidates import Elimination, eliminate
from risjax.detection.peak_features import peak_features
from risjax.estimators.fit import Fit
from risjax.estimators.interface import Search
from risjax.estimators.likelihood import SufficientStatistics, statistics
from risjax.estimators.mvdr import mvdr_peaks
from risjax.linalg import LowRankCovariance
from risjax.physics.array import steering_at
from risjax.physics.images import noise_to_signal
from risjax.physics.scaling import SceneScale, normalise_scene
from risjax.spectral.grid import Grid, grid_for
from risjax.spectral.peak_search import Peaks
from risjax.types import Observation


class Proposals(NamedTuple):
    """Candidates of one scene, or of a batch, before the decision.

    Attributes:
        elimination: their fits.
        features: of each fit, [K, ...].
        data: statistics of the normalised snapshots.
        scale: units of the scene, in which results are to be stated.
    """

    elimination: Elimination
    features: CandidateFeatures
    data: SufficientStatistics
    scale: SceneScale


def peaks_of_scene(
    scene: Observation,
    effective: LowRankCovariance,
    *,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    grid: Grid,
) -> tuple[Peaks, Array]:
    """Return the peaks of one scene's spectrum and their features.

    Args:
        scene: the observation.
        effective: R_eff.
        physics: array, field of view.
        estimator: search and refinement.
        grid: of ``estimator.grid``, on the nominal surface.
    """
    scene, _ = normalise_scene(scene)
    data, level = statistics(scene, physics), noise_to_signal(scene)
    surface_grid = grid_for(grid, physics, scene.geometry)
    peaks = mvdr_peaks(effective, Search(physics, estimator, None, surface_grid, scene.geometry))
    vectors = steering_at(physics.array, peaks.cosines, scene.geometry)
    return peaks, peak_features(peaks, vectors, effective, data, level, physics)


def proposals_of_scene(
    scene: Observation,
    effective: LowRankCovariance,
    *,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    grid: Grid,
) -> Proposals:
    """Return the candidates of one scene.

    Args:
        scene: the observation.
        effective: R_eff.
        physics: array, field of view, slots.
        estimator: fits and elimination.
        grid: of ``estimator.posterior.grid``, on the nominal surface.
    """
    scene, scale = normalise_scene(scene)
    data = statistics(scene, physics)
    surface_grid = grid_for(grid, physics, data.geometry)
    elimination = eliminate(data, effective, physics, estimator.posterior, surface_grid)
    drop = drops(elimination, data)

    def features_of_fit(fit: Fit, level: Array) -> CandidateFeatures:
        return candidate_features(fit, level, drop, data, physics)

    return Proposals(elimination, jax.vmap(features_of_fit)(elimination.fits, elimination.level), data, scale)
