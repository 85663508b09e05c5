"""Estimated sources in degrees and metres: numpy arrays, and rows of tables."""

from typing import Any, NamedTuple

import jax
import numpy as np

from risjax.detection.goodness_of_fit import p_values
from risjax.types import Diagnostics, Estimates, Observation

SCENE_COLUMNS = (
    "explained",
    "unexplained",
    "fit_p_value",
    "signal_p_value",
    "degrees_of_freedom",
    "misfit",
    "no_signal",
    "ill_conditioned",
)
"""Columns that describe the scene of a source."""

COLUMNS = (
    "scene",
    "source",
    "azimuth_deg",
    "elevation_deg",
    "range_m",
    "x_m",
    "y_m",
    "z_m",
    "azimuth_std_deg",
    "elevation_std_deg",
    "range_std_m",
    "existence",
    "amplitude_real",
    "amplitude_imag",
    "score",
    *SCENE_COLUMNS,
)
"""Columns of every table of sources; docs/predict.md defines them."""


class Localization(NamedTuple):
    """Estimated sources of one scene, or of several with a leading axis S; K slots, strongest source first.

    Slots that hold no source are NaN in every property; ``active`` marks those that hold one.

    Attributes:
        position: azimuth (rad), elevation (rad), range (m), [K, 3]; zeros in empty slots.
        amplitude: complex weight of the source's unit-norm steering vector in the field on the surface, [K].
        active: which slots hold a source, [K].
        std: standard deviations of ``position`` (rad, rad, m), [K, 3]; inf in empty slots.
        score: the logarithm of the likelihood ratio of the source against its absence, [K].
        existence: probability that the source exists, [K]; NaN where the network states none; at most 0.5 in a scene
            with ``no_signal``.
        explained: share of the snapshots' energy that the sources explain, [].
        unexplained: share of the field's energy, above the noise, that the sources do not explain, [].
        fit_p_value: of the hypothesis that the sources explain all of the field on the surface, [].
        signal_p_value: of the hypothesis that the snapshots are noise alone, [].
        degrees_of_freedom: dimensions of the field that are observed above the noise, at most N, [].
        rank: numerical rank of the measurement matrix, N if all of the field is observed, [].
        misfit: the sources do not explain the field: ``fit_p_value`` is below 1e-2, and they leave more
            than a missed weak source, [].
        no_signal: the snapshots cannot be distinguished from noise: ``signal_p_value`` is above 1e-3, [].
        ill_conditioned: channel and codes observe less than a fifth of the dimensions that a measurement with equal
            singular values would; other codes are needed, [].

    The last nine describe the scene; they are NaN (flags: False) where symbols change from snapshot to snapshot. See
    `risjax.detection.goodness_of_fit`.
    """

    position: np.ndarray
    amplitude: np.ndarray
    active: np.ndarray
    std: np.ndarray
    score: np.ndarray
    existence: np.ndarray
    explained: np.ndarray
    unexplained: np.ndarray
    fit_p_value: np.ndarray
    signal_p_value: np.ndarray
    degrees_of_freedom: np.ndarray
    rank: np.ndarray
    misfit: np.ndarray
    no_signal: np.ndarray
    ill_conditioned: np.ndarray

    @property
    def count(self) -> np.ndarray:
        """Number of sources, [] or [S]."""
        return np.asarray(self.active.sum(-1))

    @property
    def azimuth_deg(self) -> np.ndarray:
        """Azimuth in degrees, [K]."""
        return self._shown(np.degrees(self.position[..., 0]))

    @property
    def elevation_deg(self) -> np.ndarray:
        """Elevation in degrees, [K]."""
        return self._shown(np.degrees(self.position[..., 1]))

    @property
    def range_m(self) -> np.ndarray:
        """Range in metres, [K]."""
        return self._shown(self.position[..., 2])

    @property
    def xyz_m(self) -> np.ndarray:
        """Coordinates along the surface's horizontal axis, its vertical axis and boresight, [K, 3]."""
        azimuth, elevation, range_m = np.moveaxis(self.position.astype(np.float64), -1, 0)
        across, up = np.sin(azimuth) * np.cos(elevation), np.sin(elevation)
        places = range_m[..., None] * np.stack([across, up, np.cos(azimuth) * np.cos(elevation)], axis=-1)
        return np.where(self.active[..., None], places, np.nan)

    @property
    def std_deg_m(self) -> np.ndarray:
        """Standard deviations in degrees, degrees and metres, [K, 3]."""
        scale = np.array([180 / np.pi, 180 / np.pi, 1.0])
        return np.where(self.active[..., None], self.std * scale, np.nan)

    def rows(self, first_scene: int = 0) -> list[dict[str, Any]]:
        """One dict a source, with the keys of `COLUMNS`; scenes are counted from ``first_scene``."""
        table = self.table(first_scene)
        return [
            dict(zip(COLUMNS, values, strict=True))
            for values in zip(*(table[c].tolist() for c in COLUMNS), strict=True)
        ]

    def table(self, first_scene: int = 0) -> dict[str, np.ndarray]:
        """Columns of equal length, one entry a source, by the names of `COLUMNS`."""
        all_scenes = self if self.active.ndim == 2 else Localization(*(array[None] for array in self))
        scene, slot = np.nonzero(all_scenes.active)
        place, deviation = all_scenes.xyz_m[scene, slot], all_scenes.std_deg_m[scene, slot]
        amplitude = all_scenes.amplitude[scene, slot]
        columns = (
            scene + first_scene,
            (np.cumsum(all_scenes.active, axis=1) - 1)[scene, slot],
            all_scenes.azimuth_deg[scene, slot],
            all_scenes.elevation_deg[scene, slot],
            all_scenes.range_m[scene, slot],
            *place.T,
            *deviation.T,
            all_scenes.existence[scene, slot],
            np.real(amplitude),
            np.imag(amplitude),
            all_scenes.score[scene, slot],
            *(getattr(all_scenes, name)[scene] for name in SCENE_COLUMNS),
        )
        return dict(zip(COLUMNS, columns, strict=True))

    def _shown(self, values: np.ndarray) -> np.ndarray:
        return np.where(self.active, values, np.nan)


def located(
    estimates: Estimates, diagnostics: Diagnostics, observation: Observation, min_existence: float = 0.0
) -> Localization:
    """Return estimates and diagnostics on the host, without sources of a probability below ``min_existence``."""
    found, checks = jax.device_get((estimates, diagnostics))
    count = found.active.sum(-1)
    signal, fit = p_values(checks, count, observation.codes.shape[-1], observation.snapshots[0].size)
    kept = found.active & ~(found.existence < min_existence)  # a network may state none: NaN
    row = kept[..., None]
    return Localization(
        position=np.where(row, found.position, 0),
        amplitude=np.where(kept, found.amplitude, 0),
        active=kept,
        std=np.where(row, found.std, np.inf),
        score=np.where(kept, found.score, 0),
        existence=found.existence if min_existence <= 0 else np.where(kept, found.existence, 0),
        explained=checks.explained,
        unexplained=checks.unexplained,
        fit_p_value=fit,
        signal_p_value=signal,
        degrees_of_freedom=checks.degrees_of_freedom,
        rank=checks.rank,
        misfit=checks.misfit,
        no_signal=checks.no_signal,
        ill_conditioned=checks.ill_conditioned,
    )


def rank_problem(found: Localization, num_elements: int) -> str | None:
    """Return why the measurement of a scene does not determine the field, or None if all do."""
    deficient = np.flatnonzero(np.atleast_1d(found.rank) < num_elements)
    if not deficient.size:
        return None
    text = rank_text(int(np.atleast_1d(found.rank)[deficient[0]]), num_elements)
    return f"scene {deficient[0]} ({deficient.size} in all): {text}"


def rank_text(rank: int, num_elements: int) -> str:
    """Return the reason that a rank-deficient measurement is refused."""
    determined = f"{rank}" if rank else "few"  # (rank 0: the factorisation broke down)
    return (
        f"got a channel and codes that determine {determined} of the {num_elements} dimensions of the field; expected "
        "a measurement matrix of full rank: use codes that differ from one another, or a channel with "
        "more independent paths"
    )
