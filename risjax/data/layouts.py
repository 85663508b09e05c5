"""The arrays of scene files, by name: what each layout contains.

====================== ============== ===========================================================
layout                 array          shape and meaning
====================== ============== ===========================================================
risjax                 snapshots, y   [S, L, M] complex
                       channel, H     [S, M, N] complex, or [M, N] shared by all scenes
                       codes          [S, L, N] complex or +1 and -1, or [L, N] shared by all scenes
                       elements_m     [S, N, 2] or [N, 2], measured positions of the elements; optional
                       wavelength_m   [S] or [], measured wavelength; optional
                       position       [S, K, 3] azimuth (rad), elevation (rad), range (m); optional
                       amplitude      [S, K] complex weights of the unit-norm steering vectors; optional
                       active         [S, K] which slots hold a source; optional
                       snr_db         [S]; optional
                       noise_variance [S]; optional
                       label_factor   [S, N, K] complex factor of the label covariance; optional
original pipeline      y              [S, L, M, 2] snapshots
                       H_full         [S, M, N, 2] channel from surface to base station
                       codes          [S, L, N, 2], or [L, N, 2] shared by all scenes
                       ptr            [S, 3 K] azimuths, then elevations (rad), then ranges (m)
                       K              [S] number of sources
                       snr            [S] dB
                       R, R_factor    [S, N, N, 2] label covariance or [S, N, K, 2] its factor; optional
                       amplitude      [S, K, 2] weights of the unit-norm steering vectors; optional
                       y_clean        [S, L, M, 2] noiseless snapshots; optional
====================== ============== ===========================================================

Complex arrays may have a trailing axis of real and imaginary parts in place of a complex dtype. A file of one scene may
leave out the axis S everywhere.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from risjax.types import Observation, Sources

MAX_UNPACKED_BYTES = 8 << 30
"""Bytes that one reading may hold in memory; larger than any shard that ``simulate`` writes."""


class SceneFileError(ValueError):
    """A scene file that cannot be used; the message names the file, the array, what it is and what was expected."""


class SceneFile(NamedTuple):
    """The scenes of a file, as numpy arrays with a leading axis of S scenes.

    Attributes:
        observation: what the receiver knows; complex64.
        sources: positions and activity; amplitudes are NaN where the file does not hold them. None without labels.
        snr_db: [S], or None.
        covariance_factor: B with R = B B^H of trace N, [S, N, K], or None.
        clean: noiseless snapshots [S, L, M], or None.
        noise_variance: of each complex entry of the snapshots, [S], or None.
    """

    observation: Observation
    sources: Sources | None
    snr_db: np.ndarray | None
    covariance_factor: np.ndarray | None
    clean: np.ndarray | None
    noise_variance: np.ndarray | None = None

    @property
    def num_scenes(self) -> int:
        """S."""
        return self.observation.snapshots.shape[0]


@dataclass(frozen=True)
class ArraySpec:
    """An array of labels: its shape as dimension names and numbers, and the kind of its numbers."""

    shape: tuple[str | int, ...]
    kind: str = "float"


OBSERVED: Mapping[str, str] = {
    "snapshots": "SLM",
    "channel": "SMN",
    "codes": "SLN",
    "elements_m": "SNP",
    "wavelength_m": "S",
}
"""Arrays known to the receiver, with a letter for each axis; P is the plane of the surface, of size 2."""

REQUIRED = ("snapshots", "channel", "codes")

ALIASES: Mapping[str, tuple[str, ...]] = {"snapshots": ("snapshots", "y"), "channel": ("channel", "H_full", "H")}
"""Names of a variable in a file, the first that is there counts; all others have one name."""

ORIGINAL_LABELS: Mapping[str, ArraySpec] = {
    "ptr": ArraySpec(("S", "3K")),
    "K": ArraySpec(("S",), kind="integer"),
    "snr": ArraySpec(("S",)),
    "R": ArraySpec(("S", "N", "N", 2)),
    "R_factor": ArraySpec(("S", "N", "K", 2)),
    "amplitude": ArraySpec(("S", "K", 2)),
    "y_clean": ArraySpec(("S", "L", "M", 2)),
}

LABELS: Mapping[str, ArraySpec] = {
    "position": ArraySpec(("S", "K", 3)),
    "amplitude": ArraySpec(("S", "K"), kind="complex"),
    "active": ArraySpec(("S", "K"), kind="bool"),
    "snr_db": ArraySpec(("S",)),
    "noise_variance": ArraySpec(("S",)),
    "label_factor": ArraySpec(("S", "N", "K"), kind="complex"),
}


def is_original(names: Collection[str]) -> bool:
    """Return True if a file's array names are those of the original pipeline."""
    return "snapshots" not in names and "H_full" in names


def check_size(sizes: Mapping[str, int], file: str) -> None:
    """Raises SceneFileError where arrays of these sizes in bytes exceed `MAX_UNPACKED_BYTES`."""
    total = sum(sizes.values())
    if total > MAX_UNPACKED_BYTES:
        raise SceneFileError(
            f"{file}: {', '.join(sizes)} unpack to {total} bytes; the most allowed is {MAX_UNPACKED_BYTES}"
        )
