"""Estimated sources in degrees and metres: numpy arrays, and rows of tables."""

from typing import Any, NamedTuple

import jax
import numpy as np

from risjax.types import Estimates

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
        existence: probability that the source exists, [K]; NaN where the network estimates none.
    """

    position: np.ndarray
    amplitude: np.ndarray
    active: np.ndarray
    std: np.ndarray
    score: np.ndarray
    existence: np.ndarray

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
        )
        return dict(zip(COLUMNS, columns, strict=True))

    def _shown(self, values: np.ndarray) -> np.ndarray:
        return np.where(self.active, values, np.nan)


def located(estimates: Estimates, min_existence: float = 0.0) -> Localization:
    """Estimates on the host, without sources that exist with less than ``min_existence``."""
    found = Localization(*(np.asarray(leaf) for leaf in jax.device_get(tuple(estimates))))
    if min_existence <= 0:
        return found
    kept = found.active & ~(found.existence < min_existence)  # NaN where the network estimates none
    row = kept[..., None]
    return Localization(
        position=np.where(row, found.position, 0),
        amplitude=np.where(kept, found.amplitude, 0),
        active=kept,
        std=np.where(row, found.std, np.inf),
        score=np.where(kept, found.score, 0),
        existence=np.where(kept, found.existence, 0),
    )
