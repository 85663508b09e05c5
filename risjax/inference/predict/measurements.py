"""What a user hands in, checked and brought into shape: numpy arrays to observations."""

import numpy as np
from numpy.typing import ArrayLike

from risjax.types import Geometry, Observation

_SYMBOLS = {"snapshots": ("y", "L, M"), "channel": ("H", "M, N"), "codes": ("codes", "L, N")}


class MeasurementError(ValueError):
    """Measurements that this network cannot use; the message says what was got, what is expected, what to do."""


def as_observation(y: ArrayLike, H: ArrayLike, codes: ArrayLike, geometry: Geometry | None) -> tuple[Observation, bool]:
    """One scene or several as a batch of observations.

    Args:
        y: [L, M] or [S, L, M] complex.
        H: [M, N] or [S, M, N] complex.
        codes: [L, N] or [S, L, N].
        geometry: [N, 2] or [S, N, 2] in metres, and the wavelength; None for the nominal surface.

    Returns:
        The observations, with a leading axis S, and whether ``y`` had one.

    Raises:
        MeasurementError: wrong shapes or dtypes, values that are not finite, or nothing but zeros.
    """
    arrays = {name: _as_complex(value, *_SYMBOLS[name]) for name, value in zip(_SYMBOLS, (y, H, codes), strict=True)}
    snapshots, channel, code = arrays.values()
    is_batch = snapshots.ndim == 3
    num_snapshots, num_antennas = snapshots.shape[-2:]
    num_elements = code.shape[-1]
    for name, shape in (("channel", (num_antennas, num_elements)), ("codes", (num_snapshots, num_elements))):
        symbol, text = _SYMBOLS[name]
        got = arrays[name].shape
        if got[-2:] != shape or (len(got) == 3 and (not is_batch or got[0] != len(snapshots))):
            batch = f" or {[len(snapshots), *shape]}" if is_batch else ""
            raise MeasurementError(
                f"{symbol} has shape {list(got)}, expected [{text}] = {list(shape)}{batch}, given y "
                f"{list(snapshots.shape)} and codes {list(code.shape)}"
            )
    count = len(snapshots) if is_batch else 1
    if count == 0:
        raise MeasurementError("y holds no scenes")
    full = (np.broadcast_to(array, (count, *array.shape[-2:])) for array in (snapshots, channel, code))
    return Observation._make((*full, _checked_geometry(geometry, count, num_elements))), is_batch


def _as_complex(value: ArrayLike, symbol: str, dimensions: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in ("c" if symbol != "codes" else "cfiu"):
        packed = "; a trailing axis of real and imaginary part is a[..., 0] + 1j * a[..., 1]"
        raise MeasurementError(f"{symbol} has dtype {array.dtype}, expected complex{packed}")
    if array.ndim not in (2, 3):
        raise MeasurementError(f"{symbol} has shape {list(array.shape)}, expected [{dimensions}] or [S, {dimensions}]")
    with np.errstate(over="ignore", invalid="ignore"):
        array = array.astype(np.complex64)
    finite = np.isfinite(array)
    if not finite.all():
        where = np.argwhere(~finite)[0].tolist()
        raise MeasurementError(f"{symbol} holds {(~finite).sum()} values that are not finite, the first at {where}")
    if array.size and not array.any(axis=(-2, -1)).all():
        raise MeasurementError(f"{symbol} is all zero" + (" in some scenes" if array.ndim == 3 else ""))
    return array


def _checked_geometry(geometry: Geometry | None, scenes: int, elements: int) -> Geometry | None:
    if geometry is None:
        return None
    held = {}
    for name, shape in (("elements_m", (elements, 2)), ("wavelength_m", ())):
        value = getattr(geometry, name)
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
    return Geometry(**held) if any(array is not None for array in held.values()) else None
