"""Scenes from ``estimates.npz``: errors over all scenes, and figures of the best, median and worst scene.

The file contains ``<source>/truth/<field>`` and ``<source>/<method>/<field>``, with scenes along the leading axis. The
fields read are ``position``, ``active``, ``std`` of the estimates and ``snr_db`` of the truth.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from risjax.config import ToleranceConfig
from risjax.metrics.detection import gospa
from risjax.metrics.matching import cartesian, match
from risjax.report.display_names import capitalised, method_name, number
from risjax.report.drawing import Drawing
from risjax.report.figures.scene import Points, scene_view
from risjax.report.method_properties import has_estimation_error, is_learned, is_reference, principal_method
from risjax.report.reading import Run

_MOST_METHODS = 3
_TRUTH = "truth"


@dataclass(frozen=True)
class Scenes:
    """Scenes of one evaluation source, with truth and estimates.

    Attributes:
        position: of the true sources, [S, K, 3].
        active: mask of existing sources, [S, K].
        snr_db: SNR of each scene, [S], or None.
        estimates: {method: (position [S, K', 3], active [S, K'], std [S, K', 3] or None)}.
    """

    position: np.ndarray
    active: np.ndarray
    snr_db: np.ndarray | None
    estimates: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]]

    def truth(self, scene: int) -> np.ndarray:
        """Positions of the sources of a scene, [n, 3]."""
        return self.position[scene][self.active[scene]]

    def estimated(self, method: str, scene: int) -> Points:
        """Estimates of a method for a scene."""
        position, active, std = self.estimates[method]
        return Points(position[scene][active[scene]], None if std is None else std[scene][active[scene]])


def read_scenes(arrays: dict[str, np.ndarray], source: str) -> Scenes | None:
    """Return the scenes of one source, or None if the file does not contain the fields needed."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, values in arrays.items():
        parts = key.split("/")
        if len(parts) == 3 and parts[0] == source:
            found.setdefault(parts[1], {})[parts[2]] = values
    truth = found.pop(_TRUTH, {})
    if not _is_positions(truth):
        return None
    scenes = len(truth["position"])
    estimates = {
        method: (fields["position"], fields["active"].astype(bool), fields.get("std"))
        for method, fields in found.items()
        if _is_positions(fields) and len(fields["position"]) == scenes
    }
    snr_db = truth.get("snr_db")
    return Scenes(truth["position"], truth["active"].astype(bool), snr_db, estimates) if estimates and scenes else None


def matched_errors(run: Run, source: str) -> tuple[dict[str, dict[str, np.ndarray]], int]:
    """Return the errors of angle-matched sources by method and quantity, and the total number of sources.

    Methods that are given the true covariance are omitted: without noise their errors carry no information.
    """
    scenes = read_scenes(run.estimates, source)
    if scenes is None:
        return {}, 0
    errors = {}
    for method in filter(has_estimation_error, scenes.estimates):
        position, active, _ = scenes.estimates[method]
        matches = match(position, active, scenes.position, scenes.active, _tolerance(run), gate_range=False)
        sides = scenes.position[matches.matched], matches.gather(position)[matches.matched]
        true, estimated = (side.astype(float) for side in sides)
        if len(true):
            difference = np.abs(estimated - true)
            errors[method] = {
                "azimuth_deg": np.degrees(difference[:, 0]),
                "elevation_deg": np.degrees(difference[:, 1]),
                "range_m": difference[:, 2],
                "position_m": np.linalg.norm(cartesian(estimated) - cartesian(true), axis=-1),
            }
    return errors, int(scenes.active.sum())


def example_scenes(run: Run, source: str) -> list[Drawing]:
    """Return figures of the best, median and worst scene of the principal method by GOSPA.

    Empty scenes are omitted. The best scene is chosen among those with at least the median number of sources, because
    an easy scene with one source shows little. Ties go to the scene with more sources.
    """
    scenes = read_scenes(run.estimates, source)
    if scenes is None or not scenes.active.any():
        return []
    judged = principal_method(scenes.estimates)
    assert judged is not None
    others = [method for method in scenes.estimates if method != judged and not is_reference(method)]
    shown = [judged, *sorted(others, key=is_learned)][:_MOST_METHODS]
    position, active, _ = scenes.estimates[judged]
    distance_m = gospa(position, active, scenes.position, scenes.active, _tolerance(run)).distance_m
    count = scenes.active.sum(1)
    candidates = np.flatnonzero(count).tolist()
    values = {scene: float(distance_m[scene]) for scene in candidates}
    ranked = sorted(values, key=lambda scene: (round(values[scene], 3), -count[scene]))
    usual = math.ceil(np.median(count[candidates]))
    best = next(scene for scene in ranked if count[scene] >= usual)
    chosen = {"best": best, "median": ranked[len(ranked) // 2], "worst": ranked[-1]}
    drawings = []
    for rank, index in chosen.items():
        if index in list(chosen.values())[: len(drawings)]:
            continue
        snr = "" if scenes.snr_db is None else f", SNR {number(float(scenes.snr_db[index]))} dB"
        caption = (
            f"Scene {index} of {source}: {count[index]} source{'s' if count[index] > 1 else ''}{snr}, "
            f"GOSPA of {method_name(judged)} {number(values[index])} m. Rings mark the true sources, "
            "other markers the estimates"
            + (", bars show two standard deviations" if _has_std(scenes, shown, index) else "")
            + "; the square at the origin is the surface."
            + (f" Best among the scenes with at least {usual} sources." if rank == "best" and usual > 1 else "")
        )
        drawings.append(
            scene_view(
                Points(scenes.truth(index)),
                {method: scenes.estimated(method, index) for method in shown},
                name=f"{source}_scene_{rank}",
                title=f"{capitalised(rank)} scene for {method_name(judged)}",
                caption=caption,
                max_range_m=_reach(run, scenes),
                field_of_view_deg=_field_of_view(run, scenes),
            )
        )
    return drawings


def _has_std(scenes: Scenes, methods: list[str], index: int) -> bool:
    stds = [scenes.estimated(method, index).std for method in methods]
    return any(std is not None and np.isfinite(std).any() for std in stds)


def _reach(run: Run, scenes: Scenes) -> float | None:
    interval: Any = run.setting("physics.scene.range_m")
    bound = interval[1] if isinstance(interval, list) and len(interval) == 2 else 0.0
    return max(float(bound), float(scenes.position[scenes.active][:, 2].max()))


def _field_of_view(run: Run, scenes: Scenes) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return bounds of azimuth and elevation in degrees: the configured ones, extended to include every source."""
    directions = np.degrees(scenes.position[scenes.active][:, :2])
    bounds = []
    for column, name in enumerate(("azimuth_deg", "elevation_deg")):
        stated = run.setting(f"physics.scene.{name}")
        ends = [*directions[:, column], *(stated if isinstance(stated, list) else ())]
        bounds.append((float(min(ends)), float(max(ends))))
    return bounds[0], bounds[1]


def _tolerance(run: Run) -> ToleranceConfig:
    return ToleranceConfig.model_validate(run.setting("evaluate.tolerance", {}))


def _is_positions(fields: dict[str, np.ndarray]) -> bool:
    position, active = fields.get("position"), fields.get("active")
    return position is not None and active is not None and position.ndim == 3 and active.shape == position.shape[:2]
