"""Check of the arrays passed to `Model.localise`, and their conversion to observations."""

import numpy as np
from numpy.typing import ArrayLike

from risjax.config import ArrayConfig
from risjax.physics.received_arrays import (
    codes_problem,
    complex_problem,
    geometry_problem,
    lost_entries,
    masked_problem,
)
from risjax.types import Geometry, Observation

_SYMBOLS = {"snapshots": ("y", "L, M"), "channel": ("H", "M, N"), "codes": ("codes", "L, N")}


class MeasurementError(ValueError):
    """Measurements that this network cannot use; the message contains what was got, what is expected and what to do."""


def as_observation(
    y: ArrayLike,
    H: ArrayLike,
    codes: ArrayLike,
    geometry: Geometry | None,
    array: ArrayConfig,
    *,
    codes_measured: bool = False,
) -> tuple[Observation, bool]:
    """One scene or several as a batch of observations.

    Args:
        y: [L, M] or [S, L, M] complex.
        H: [M, N] or [S, M, N] complex.
        codes: [L, N] or [S, L, N], +1 and -1 or complex of modulus 1.
        geometry: [N, 2] or [S, N, 2] in metres, and the wavelength; None for the nominal surface.
        array: the nominal surface.
        codes_measured: the codes are measured reflection coefficients of any modulus.

    Returns:
        The observations, with a leading axis S, and whether ``y`` had one.

    Raises:
        MeasurementError: wrong shapes or dtypes, masked values, values that are not finite, nothing but zeros, codes
            other than reflection coefficients, or a geometry in other units than metres.
    """
    arrays = {name: _array(value, name) for name, value in zip(_SYMBOLS, (y, H, codes), strict=True)}
    _check_shapes(arrays)
    for name, array_ in arrays.items():
        problem = codes_problem(array_, measured=codes_measured) if name == "codes" else complex_problem(array_)
        if problem:
            raise MeasurementError(f"{_SYMBOLS[name][0]} {problem}")
    snapshots, channel, code = (_as_complex64(value, _SYMBOLS[name][0]) for name, value in arrays.items())
    is_batch = snapshots.ndim == 3
    count = len(snapshots) if is_batch else 1
    full = tuple(np.broadcast_to(value, (count, *value.shape[-2:])) for value in (snapshots, channel, code))
    for scene, text in lost_entries(*full[:2]).items():
        raise MeasurementError(f"y {text}" + (f" (scene {scene})" if is_batch else ""))
    return Observation._make((*full, _checked_geometry(geometry, (count, code.shape[-1]), array))), is_batch


def _array(value: ArrayLike, name: str) -> np.ndarray:
    symbol, dimensions = _SYMBOLS[name]
    problem = masked_problem(value)
    if problem:
        raise MeasurementError(f"{symbol} {problem}")
    try:
        array = np.asarray(value)
    except ValueError as error:
        text = f"{symbol} is not an array, expected [{dimensions}] or [S, {dimensions}]: {error}"
        raise MeasurementError(text) from error
    if array.dtype.kind not in ("c" if name != "codes" else "cfiu"):
        packed = "; a trailing axis of real and imaginary part is a[..., 0] + 1j * a[..., 1]"
        raise MeasurementError(f"{symbol} has dtype {array.dtype}, expected complex{packed}")
    if array.ndim not in (2, 3):
        raise MeasurementError(f"{symbol} has shape {list(array.shape)}, expected [{dimensions}] or [S, {dimensions}]")
    return array


def _check_shapes(arrays: dict[str, np.ndarray]) -> None:
    """Raises MeasurementError unless L, M, N and S agree; y and the codes define them."""
    snapshots, code = arrays["snapshots"], arrays["codes"]
    is_batch = snapshots.ndim == 3
    if is_batch and not len(snapshots):
        raise MeasurementError("y holds no scenes")
    num_snapshots, num_antennas = snapshots.shape[-2:]
    num_elements = code.shape[-1]
    for name, shape in (("channel", (num_antennas, num_elements)), ("codes", (num_snapshots, num_elements))):
        symbol, text = _SYMBOLS[name]
        got = arrays[name].shape
        if got[-2:] != shape or (len(got) == 3 and (not is_batch or got[0] != len(snapshots))):
            batch = f" or {[len(snapshots), *shape]}" if is_batch else ""
            is_reversed = got[::-1] in (shape, (len(snapshots), *shape) if is_batch else shape)
            raise MeasurementError(
                f"{symbol} has shape {list(got)}, expected [{text}] = {list(shape)}{batch}, given y "
                f"{list(snapshots.shape)} and codes {list(code.shape)}"
                + (f"; axes reversed? np.transpose({symbol}) fits" if is_reversed else "")
            )


def _as_complex64(array: np.ndarray, symbol: str) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        given, array = array, array.astype(np.complex64)
    finite = np.isfinite(array)
    if not finite.all():
        where = np.argwhere(~finite)[0].tolist()
        beyond = "beyond complex64, expected at most 1e38; use another unit" if np.isfinite(given).all() else ""
        problem = beyond or "that are not finite"
        raise MeasurementError(f"{symbol} holds {(~finite).sum()} values {problem}, the first at {where}")
    if given.any() and not array.any():
        raise MeasurementError(f"{symbol} holds values below the range of complex64, 1e-45; use another unit")
    if array.size and not array.any(axis=(-2, -1)).all():
        raise MeasurementError(f"{symbol} is all zero" + (" in some scenes" if array.ndim == 3 else ""))
    return array


def _checked_geometry(geometry: object, sizes: tuple[int, int], nominal: ArrayConfig) -> Geometry | None:
    if geometry is None:
        return None
    if not isinstance(geometry, Geometry):
        raise MeasurementError(
            f"geometry is a {type(geometry).__name__}, expected risjax.types.Geometry(elements_m, wavelength_m)"
        )
    (scenes, elements), held = sizes, {}
    for name, shape in (("elements_m", (elements, 2)), ("wavelength_m", ())):
        value = getattr(geometry, name)
        masked = masked_problem(value)
        if masked:
            raise MeasurementError(f"geometry.{name} {masked}")
        array = None if value is None else np.asarray(value)
        if array is not None and array.dtype.kind not in "fiu":
            raise MeasurementError(f"geometry.{name} has dtype {array.dtype}, expected real numbers, in metres")
        if array is not None and array.shape not in (shape, (scenes, *shape)):
            raise MeasurementError(
                f"geometry.{name} has shape {list(array.shape)}, expected {list(shape)} or {[scenes, *shape]}"
            )
        if array is not None and not (np.isfinite(array).all() and (name != "wavelength_m" or (array > 0).all())):
            raise MeasurementError(f"geometry.{name} holds values that are not finite, or a wavelength of 0 m or less")
        held[name] = None if array is None else np.broadcast_to(array.astype(np.float32), (scenes, *shape))
    if all(array is None for array in held.values()):
        return None
    problem = geometry_problem(Geometry(**held), nominal)
    if problem:
        raise MeasurementError(f"geometry.{problem[0]} {problem[1]}")
    return Geometry(**held)
