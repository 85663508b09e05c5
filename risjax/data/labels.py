"""True sources and covariances of a file, in either layout, beside its observations."""

from collections.abc import Mapping

import numpy as np

from risjax.data.layouts import LABELS, ORIGINAL_LABELS, ArraySpec, SceneFile, SceneFileError, check_size, is_original
from risjax.data.measurements import Measurements, as_vector, find
from risjax.data.variables import Variable, to_complex
from risjax.physics.received_arrays import positions_problem
from risjax.types import Observation, Sources


def read_scene_file(measurements: Measurements, limit: int | None, max_range_m: float) -> SceneFile:
    """All scenes of a file, or the first ``limit``, with their labels.

    Raises:
        SceneFileError: a damaged file; arrays that do not fit together, all of them named; values that are not finite
            or cannot be right.
    """
    file = measurements.file
    specs = ORIGINAL_LABELS if is_original(measurements.opened.names) else LABELS
    variables = _variables(measurements, specs)
    num_bytes = {v.name: int(np.prod(v.shape, dtype=np.int64)) * v.dtype.itemsize for v in variables.values()}
    check_size(measurements.num_bytes() | num_bytes, file)
    sizes = {letter: (size, "the snapshots") for letter, size in measurements.arrangement.sizes.items()}
    problems = [p for name, v in variables.items() if (p := _shape_problem(v, specs[name], sizes))]
    if problems:
        raise SceneFileError(f"{file}: {'; '.join(problems)}")
    count = measurements.num_scenes if limit is None else min(limit, measurements.num_scenes)
    observation = measurements.read(0, count)
    labels = {name: _converted(v, specs[name], count, file) for name, v in variables.items()}
    surface = observation.geometry._asdict() if observation.geometry else {}
    _check_finite({**observation._asdict(), **surface, **labels}, file)
    make = _original if specs is ORIGINAL_LABELS else _native
    return make(observation, labels, file, max_range_m)


def _variables(measurements: Measurements, specs: Mapping[str, ArraySpec]) -> dict[str, Variable]:
    """The labels of a file, one scene's with an axis of scenes."""
    found = {}
    for name, spec in specs.items():
        variable = find(name, measurements.opened, measurements.reading, measurements.file)
        if variable is None:
            continue
        if variable.drops_axes and len(spec.shape) == 1:
            variable = as_vector(variable)
        missing = len(spec.shape) - len(variable.shape)
        if missing > 0 and variable.drops_axes and measurements.num_scenes > 1:
            variable = _reshaped(variable, (*variable.shape, *(1,) * missing))
        elif missing == 1 and measurements.num_scenes == 1:
            variable = _reshaped(variable, (1, *variable.shape))
        found[name] = variable
    return found


def _reshaped(variable: Variable, shape: tuple[int, ...]) -> Variable:
    def read(axis: int, start: int, stop: int) -> np.ndarray:
        return variable.read_all().reshape(shape)[(slice(None),) * axis + (slice(start, stop),)]

    return variable._replace(shape=shape, read=read)


def _shape_problem(variable: Variable, spec: ArraySpec, sizes: dict[str, tuple[int, str]]) -> str | None:
    kinds = {"float": "fiu", "integer": "iuf", "complex": "cfiu", "bool": "biuf"}[spec.kind]
    if variable.dtype.kind not in kinds:
        return f"{variable.name} has dtype {variable.dtype}, expected {spec.kind}"
    got, text = f"{variable.name} has shape {list(variable.shape)}", _text(spec.shape)
    if len(variable.shape) != len(spec.shape):
        return f"{got}, expected {text}"
    for size, dimension in zip(variable.shape, spec.shape, strict=True):
        if isinstance(dimension, int):
            if size != dimension:
                return f"{got}, expected {text}"
            continue
        if dimension == "3K":
            if size == 0 or size % 3:
                return f"{got}, expected {text}, a multiple of three columns"
            size, dimension = size // 3, "K"
        known = sizes.setdefault(dimension, (size, variable.name))
        if size != known[0]:
            return f"{got}, expected {text} with {dimension} = {known[0]} as in {known[1]}"
        if size == 0:
            return f"{got}: {dimension} = 0, the file holds nothing"
    return None


def _text(shape: tuple[str | int, ...]) -> str:
    return "[" + ", ".join(str(dimension) for dimension in shape) + "]"


def _converted(variable: Variable, spec: ArraySpec, count: int, file: str) -> np.ndarray:
    """The first ``count`` scenes in the dtype of their kind: MATLAB has doubles for everything."""
    array = variable.read(0, 0, count)
    if spec.kind in ("integer", "bool") and array.dtype.kind != "b":
        whole = array.astype(np.int64)
        if (whole != array).any() or (spec.kind == "bool" and not np.isin(whole, (0, 1)).all()):
            raise SceneFileError(f"{file}: {variable.name} holds {array.dtype}, expected {spec.kind}")
        return whole.astype(bool) if spec.kind == "bool" else whole
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype({"complex": np.complex64, "float": np.float32}.get(spec.kind, array.dtype))


def _check_finite(arrays: Mapping[str, object], file: str) -> None:
    problems = []
    for name, array in arrays.items():
        if isinstance(array, np.ndarray) and array.dtype.kind in "fc" and not np.isfinite(array).all():
            bad = np.argwhere(~np.isfinite(array))
            problems.append(f"{name} holds {len(bad)} values that are not finite, the first at {bad[0].tolist()}")
    wavelength = arrays.get("wavelength_m")
    if isinstance(wavelength, np.ndarray) and (wavelength <= 0).any():
        problems.append(f"wavelength_m holds {wavelength.min():g} m; wavelengths are positive")
    elements = arrays.get("elements_m")
    if isinstance(elements, np.ndarray) and elements.shape[1] > 1 and not np.ptp(elements, axis=1).any(-1).all():
        problems.append("elements_m places all elements of a scene at one point, expected positions in metres")
    if problems:
        raise SceneFileError(f"{file}: {'; '.join(problems)}")


def _native(observation: Observation, labels: Mapping[str, np.ndarray], file: str, max_range_m: float) -> SceneFile:
    sources = None
    if "position" in labels and "active" in labels:
        position, active = labels["position"], labels["active"]
        _check_positions(position[active], "position", file, max_range_m)
        sources = _sources(position, labels.get("amplitude", np.complex64(np.nan)), active)
    factor = _trace_n(labels.get("label_factor"))
    return SceneFile(observation, sources, labels.get("snr_db"), factor, None, labels.get("noise_variance"))


def _original(observation: Observation, labels: Mapping[str, np.ndarray], file: str, max_range_m: float) -> SceneFile:
    sources = _original_sources(labels, file, max_range_m) if "ptr" in labels and "K" in labels else None
    factor = None
    if "R_factor" in labels:
        factor = _packed(labels["R_factor"])
    elif "R" in labels:
        slots = labels["ptr"].shape[1] // 3 if "ptr" in labels else observation.codes.shape[-1]
        factor = hermitian_factor(_packed(labels["R"]), slots)
    clean = _packed(labels["y_clean"]) if "y_clean" in labels else None
    return SceneFile(observation, sources, labels.get("snr"), _trace_n(factor), clean)


def _original_sources(labels: Mapping[str, np.ndarray], file: str, max_range_m: float) -> Sources:
    count, slots = labels["K"], labels["ptr"].shape[1] // 3
    if (count < 0).any() or (count > slots).any():
        raise SceneFileError(f"{file}: K lies in [{count.min()}, {count.max()}], ptr has {slots} slots")
    position = labels["ptr"].reshape(-1, 3, slots).swapaxes(1, 2)
    active = np.arange(slots)[None, :] < count[:, None]
    _check_positions(position[active], "ptr", file, max_range_m)
    amplitude = _packed(labels["amplitude"]) if "amplitude" in labels else np.complex64(np.nan)
    return _sources(position, amplitude, active)


def _sources(position: np.ndarray, amplitude: np.ndarray | np.complex64, active: np.ndarray) -> Sources:
    """Sources of numpy arrays, zeros in the slots that hold none."""
    return Sources._make((np.where(active[..., None], position, 0), np.where(active, amplitude, 0), active))


def _check_positions(position: np.ndarray, name: str, file: str, max_range_m: float) -> None:
    """Refuses positions of sources [number, 3] in other units than rad, rad and m."""
    problem = positions_problem(position, max_range_m)
    if problem:
        raise SceneFileError(f"{file}: {name} {problem}")


def _packed(array: np.ndarray) -> np.ndarray:
    """A trailing axis of real and imaginary part as complex64."""
    return to_complex(array[..., 0], array[..., 1])


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
