"""The arrays of scene files, by name: what each layout must hold and how it becomes our types.

====================== ============== ===========================================================
layout                 array          shape and meaning (complex as a trailing axis of two floats)
====================== ============== ===========================================================
original pipeline      y              [S, L, M, 2] snapshots
                       H_full         [S, M, N, 2] channel from surface to base station
                       codes          [S, L, N, 2], or [L, N, 2] shared by all scenes
                       ptr            [S, 3 K] azimuths, then elevations (rad), then ranges (m)
                       K              [S] number of sources
                       snr            [S] dB
                       R, R_factor    [S, N, N, 2] label covariance or [S, N, K, 2] its factor; optional
                       amplitude      [S, K, 2] weights of the unit-norm steering vectors; optional
                       y_clean        [S, L, M, 2] noiseless snapshots; optional
                       H, R_samp      [S, L, M, 2] H c and [S, N, N, 2]; optional, checked but not used
risjax                 snapshots      [S, L, M] complex
                       channel        [S, M, N] complex
                       codes          [S, L, N] complex, or [L, N] shared by all scenes
                       elements_m     [S, N, 2] where each scene's elements are, as the receiver has measured; optional
                       wavelength_m   [S] each scene's wavelength, as the receiver has measured it; optional
                       position       [S, K, 3] azimuth (rad), elevation (rad), range (m); optional
                       amplitude      [S, K] complex weights of the unit-norm steering vectors; optional
                       active         [S, K] which slots hold a source; optional
                       snr_db         [S]; optional
                       noise_variance [S]; optional
                       label_factor   [S, N, K] complex factor of the label covariance; optional
====================== ============== ===========================================================
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from risjax.types import Geometry, Observation, Sources


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
    """An array of a layout: its shape as dimension names and numbers, and whether the file may lack it."""

    shape: tuple[str | int, ...]
    required: bool = True
    kind: str = "float"


ORIGINAL: Mapping[str, ArraySpec] = {
    "y": ArraySpec(("S", "L", "M", 2)),
    "H_full": ArraySpec(("S", "M", "N", 2)),
    "codes": ArraySpec(("S", "L", "N", 2)),
    "ptr": ArraySpec(("S", "3K"), required=False),
    "K": ArraySpec(("S",), required=False, kind="integer"),
    "snr": ArraySpec(("S",), required=False),
    "R": ArraySpec(("S", "N", "N", 2), required=False),
    "R_factor": ArraySpec(("S", "N", "K", 2), required=False),
    "amplitude": ArraySpec(("S", "K", 2), required=False),
    "y_clean": ArraySpec(("S", "L", "M", 2), required=False),
    "H": ArraySpec(("S", "L", "M", 2), required=False),
    "R_samp": ArraySpec(("S", "N", "N", 2), required=False),
}

OWN: Mapping[str, ArraySpec] = {
    "snapshots": ArraySpec(("S", "L", "M"), kind="complex"),
    "channel": ArraySpec(("S", "M", "N"), kind="complex"),
    "codes": ArraySpec(("S", "L", "N"), kind="complex"),
    "elements_m": ArraySpec(("S", "N", 2), required=False),
    "wavelength_m": ArraySpec(("S",), required=False),
    "position": ArraySpec(("S", "K", 3), required=False),
    "amplitude": ArraySpec(("S", "K"), required=False, kind="complex"),
    "active": ArraySpec(("S", "K"), required=False, kind="bool"),
    "snr_db": ArraySpec(("S",), required=False),
    "noise_variance": ArraySpec(("S",), required=False),
    "label_factor": ArraySpec(("S", "N", "K"), required=False, kind="complex"),
}


OBSERVED = frozenset({"snapshots", "channel", "codes", "y", "H_full", *Geometry._fields})
"""What the receiver knows, in either layout."""


def layout_of(names: Collection[str], file: str) -> Mapping[str, ArraySpec]:
    """The layout that a file's array names belong to.

    Raises:
        SceneFileError: if they belong to none.
    """
    if "snapshots" in names:
        return OWN
    if "y" in names:
        return ORIGINAL
    held = ", ".join(sorted(names)[:12]) or "nothing"
    raise SceneFileError(
        f"{file}: not a scene file: it holds {held}; expected snapshots, channel, codes (or the original pipeline's "
        "y, H_full, codes)"
    )


def from_arrays(arrays: Mapping[str, np.ndarray], file: str) -> SceneFile:
    """Arrays of either layout as our types.

    Raises:
        SceneFileError: naming every array that is missing, misshapen, of a wrong dtype or not finite.
    """
    return from_own(arrays, file) if layout_of(arrays, file) is OWN else from_original(arrays, file)


def from_own(arrays: Mapping[str, np.ndarray], file: str) -> SceneFile:
    """Our layout as our types.

    Raises:
        SceneFileError: as `check_arrays`, or if a wavelength or the range of an active source is not positive.
    """
    sizes = check_arrays(arrays, OWN, file)
    codes = arrays["codes"].astype(np.complex64)
    if codes.ndim == 2:
        codes = np.broadcast_to(codes, (sizes["S"], *codes.shape))
    geometry = geometry_of(arrays)
    if "wavelength_m" in arrays and (arrays["wavelength_m"] <= 0).any():
        raise SceneFileError(f"{file}: wavelength_m holds {arrays['wavelength_m'].min()} m; wavelengths are positive")
    observation = Observation._make(
        (arrays["snapshots"].astype(np.complex64), arrays["channel"].astype(np.complex64), codes, geometry)
    )
    sources = None
    if "position" in arrays and "active" in arrays:
        position, active = arrays["position"].astype(np.float32), arrays["active"]
        _check_ranges(position[active], "position", file)
        amplitude = arrays["amplitude"].astype(np.complex64) if "amplitude" in arrays else np.complex64(np.nan)
        sources = _on_host(position, amplitude, active)
    snr_db, variance = (
        arrays[name].astype(np.float32) if name in arrays else None for name in ("snr_db", "noise_variance")
    )
    factor = arrays["label_factor"].astype(np.complex64) if "label_factor" in arrays else None
    return SceneFile(observation, sources, snr_db, _trace_n(factor), None, variance)


def geometry_of(arrays: Mapping[str, np.ndarray]) -> Geometry | None:
    """The surfaces of a file's scenes, None where it holds none."""
    held = {name: arrays[name].astype(np.float32) for name in Geometry._fields if name in arrays}
    return Geometry._make(held.get(name) for name in Geometry._fields) if held else None


def _on_host(position: np.ndarray, amplitude: np.ndarray | np.complex64, active: np.ndarray) -> Sources:
    """Sources of numpy arrays, zeros in the slots that hold none."""
    return Sources._make((np.where(active[..., None], position, 0), np.where(active, amplitude, 0), active))


def _check_ranges(position: np.ndarray, name: str, file: str) -> None:
    if (position[:, 2] <= 0).any():
        raise SceneFileError(f"{file}: {name} holds a range of {position[:, 2].min()} m; ranges are positive")


def check_arrays(
    arrays: Mapping[str, np.ndarray], layout: Mapping[str, ArraySpec], file: str, *, finite: bool = True
) -> dict[str, int]:
    """Checks presence, dtype, shape against one another, and, where ``finite``, that all values are.

    Returns:
        The sizes of the dimensions.

    Raises:
        SceneFileError: listing every problem found.
    """
    problems = [f"{name} is missing" for name, spec in layout.items() if spec.required and name not in arrays]
    sizes: dict[str, tuple[int, str]] = {}
    for name, spec in layout.items():
        if name not in arrays:
            continue
        problem = _problem(name, arrays[name], spec, sizes, finite)
        if problem:
            problems.append(problem)
    if problems:
        raise SceneFileError(f"{file}: " + "; ".join(problems))
    return {dimension: size for dimension, (size, _) in sizes.items()}


def _problem(
    name: str, array: np.ndarray, spec: ArraySpec, sizes: dict[str, tuple[int, str]], finite: bool
) -> str | None:
    kinds = {"float": "f", "integer": "iu", "complex": "c", "bool": "b"}[spec.kind]
    if array.dtype.kind not in kinds:
        return f"{name} has dtype {array.dtype}, expected {spec.kind}"
    shape = spec.shape
    if name == "codes" and array.ndim == len(shape) - 1:
        shape = shape[1:]
    if array.ndim != len(shape):
        return f"{name} has shape {list(array.shape)}, expected {_text(shape)}"
    for size, dimension in zip(array.shape, shape, strict=True):
        if isinstance(dimension, int):
            if size != dimension:
                return f"{name} has shape {list(array.shape)}, expected {_text(shape)}"
            continue
        if dimension == "3K":
            if size == 0 or size % 3:
                return f"{name} has shape {list(array.shape)}, expected {_text(shape)}, a multiple of three columns"
            size, dimension = size // 3, "K"
        known = sizes.setdefault(dimension, (size, name))
        if size != known[0]:
            return (
                f"{name} has shape {list(array.shape)}, expected {_text(shape)} with {dimension} = {known[0]} "
                f"as in {known[1]}"
            )
        if size == 0:
            return f"{name} has shape {list(array.shape)}: {dimension} = 0, the file holds nothing"
    if finite and array.dtype.kind in "fc" and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        return f"{name} holds {len(bad)} values that are not finite, the first at {bad[0].tolist()}"
    return None


def _text(shape: tuple[str | int, ...]) -> str:
    return "[" + ", ".join(str(dimension) for dimension in shape) + "]"


def as_complex(array: np.ndarray) -> np.ndarray:
    """A trailing axis of two floats as complex64."""
    return np.ascontiguousarray(array, np.float32).view(np.complex64)[..., 0]


def from_original(arrays: Mapping[str, np.ndarray], file: str) -> SceneFile:
    """The original pipeline's layout as ours.

    Raises:
        SceneFileError: as `check_arrays`, or if K and ptr disagree.
    """
    sizes = check_arrays(arrays, ORIGINAL, file)
    codes = as_complex(arrays["codes"])
    if codes.ndim == 2:
        codes = np.broadcast_to(codes, (sizes["S"], *codes.shape))
    observation = Observation._make((as_complex(arrays["y"]), as_complex(arrays["H_full"]), codes, None))
    sources = _original_sources(arrays, sizes, file) if "ptr" in arrays and "K" in arrays else None
    factor = None
    if "R_factor" in arrays:
        factor = as_complex(arrays["R_factor"])
    elif "R" in arrays:
        factor = hermitian_factor(as_complex(arrays["R"]), sizes.get("K", 0) or sizes["N"])
    clean = as_complex(arrays["y_clean"]) if "y_clean" in arrays else None
    snr_db = np.asarray(arrays["snr"], np.float32) if "snr" in arrays else None
    return SceneFile(observation, sources, snr_db, _trace_n(factor), clean)


def _original_sources(arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int], file: str) -> Sources:
    count, slots = arrays["K"], sizes["K"]
    if (count < 0).any() or (count > slots).any():
        raise SceneFileError(f"{file}: K lies in [{count.min()}, {count.max()}], ptr has room for {slots} sources")
    position = np.asarray(arrays["ptr"], np.float32).reshape(-1, 3, slots).swapaxes(1, 2)
    active = np.arange(slots)[None, :] < count[:, None]
    _check_ranges(position[active], "ptr", file)
    if "amplitude" in arrays:
        amplitude = as_complex(arrays["amplitude"])
    else:
        amplitude = np.full(active.shape, np.nan, np.complex64)
    return _on_host(position, amplitude, active)


def hermitian_factor(matrices: np.ndarray, rank: int) -> np.ndarray:
    """B [S, N, rank] with B B^H the best rank-limited approximation of Hermitian [S, N, N], in float64 inside."""
    values, vectors = np.linalg.eigh(matrices.astype(np.complex128))
    return (vectors[..., -rank:] * np.sqrt(np.maximum(values[:, None, -rank:], 0))).astype(np.complex64)


def _trace_n(factor: np.ndarray | None) -> np.ndarray | None:
    """The factor scaled to trace N: the original's normalisation N R / (tr R + 1e-3) falls short of it."""
    if factor is None:
        return None
    trace = np.sum(np.abs(factor) ** 2, axis=(1, 2), keepdims=True)
    return (factor * np.sqrt(factor.shape[1] / np.where(trace > 0, trace, 1))).astype(np.complex64)
