"""Physics of four elements, two antennas and four codes, and helpers, for tests of scenes as data."""

from pathlib import Path
from typing import Any

import numpy as np

from risjax.config import ArrayConfig, ChannelConfig, CodebookConfig, PhysicsConfig, SceneConfig
from risjax.data.layouts import SceneFile
from risjax.types import Sources

TINY = PhysicsConfig(
    array=ArrayConfig(num_horizontal=2, num_vertical=2),
    channel=ChannelConfig(num_antennas=2),
    codebook=CodebookConfig(num_snapshots=4),
    scene=SceneConfig(num_sources=(1, 3), max_sources=3),
)

ORIGINAL = Path(__file__).parents[2] / "data" / "original"


def write_npz(path: Path, arrays: dict[str, Any], **changes: Any) -> Path:
    """Write the arrays with the changes; a change to None leaves the array out."""
    np.savez(path, **{name: array for name, array in (arrays | changes).items() if array is not None})
    return path


def sources_of(scenes: SceneFile) -> Sources:
    assert scenes.sources is not None, "the file has no labels"
    return scenes.sources


def factor_of(scenes: SceneFile) -> np.ndarray:
    assert scenes.covariance_factor is not None, "the file has no label covariance"
    return scenes.covariance_factor


def with_nan(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flat[7] = np.nan
    return array
