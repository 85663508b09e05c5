"""Checks of arrays that a user supplies: values that have a valid shape and cannot be right.

The surface multiplies the field by c_ln = exp(j phase). Files often hold the phases themselves, indices of phase steps
or bits in place of c, snapshots or channels of which the real part alone was saved, or positions in millimetres. Each
function returns the reason why an array is refused, without the array's name, or None. All are NumPy on the host.
"""

from typing import Any

import numpy as np

from risjax.config import ArrayConfig
from risjax.types import Geometry

MODULUS_TOLERANCE = 0.01
"""Largest distance of a modulus from 1: codes written with two decimals pass."""

LARGEST_RATIO = 10.0
"""Largest ratio of a measured surface's extent or wavelength to the nominal one, and of the nominal one to it."""

MAX_RANGE_M = 1000.0
"""Largest range of a source: larger ones are in millimetres, or far beyond any near field."""

_STATE_IT = (
    "if these reflection coefficients were measured, state it: codes_measured=True in Python, data.codes_measured or "
    "physics.codebook.measured in a configuration"
)


def codes_problem(codes: np.ndarray, *, measured: bool = False) -> str | None:
    """Reason why numbers cannot be the reflection coefficients of a lossless surface.

    Args:
        codes: [..., L, N], real or complex. Values that are not finite are left out.
        measured: the coefficients were measured: any complex numbers, and any real ones, are accepted.

    Returns:
        What was found, what was expected and the likely correction; None where the codes are +1 and -1, or complex
        numbers of modulus 1 within `MODULUS_TOLERANCE`.
    """
    if measured:
        return None
    values = codes[np.isfinite(codes)]
    if not values.size:
        return None
    if not is_complex(values):
        real = np.real(values)
        if (np.abs(real) == 1).all():
            return None
        return f"holds real numbers, {_span(real)}, expected complex numbers of modulus 1{_hint(real)}; {_STATE_IT}"
    with np.errstate(over="ignore"):
        modulus = np.abs(values)
    if (np.abs(modulus - 1) <= MODULUS_TOLERANCE).all():
        return None
    scale = f"; divide by {modulus[0]:g}?" if np.ptp(modulus) <= MODULUS_TOLERANCE * modulus[0] else ""
    return f"holds moduli of {_span(modulus)}, expected 1{scale}; {_STATE_IT}"


def is_complex(array: np.ndarray) -> bool:
    """Return True if an array is complex and any of its imaginary parts is not zero."""
    return array.dtype.kind == "c" and bool(np.imag(array).any())


def complex_problem(array: np.ndarray) -> str | None:
    """Reason why an array is not one of complex measurements: the imaginary part is missing."""
    if array.dtype.kind != "c":
        return f"has dtype {array.dtype}, expected complex"
    if array.any() and not is_complex(array):
        return "has no imaginary part, expected complex baseband values; was the real part alone stored?"
    return None


def lost_entries(snapshots: np.ndarray, channel: np.ndarray) -> dict[int, str]:
    """Reasons why scenes hold zeros in place of measurements, by scene.

    Received snapshots contain noise. A snapshot that is zero throughout was not received, and the same holds of an
    antenna, unless its row of the channel is zero too.

    Args:
        snapshots: [S, L, M].
        channel: [S, M, N].
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN, which is reported elsewhere
        received, gains = snapshots != 0, channel != 0
    snapshot = ~received.any(axis=2)
    antenna = ~received.any(axis=1) & gains.any(axis=2)
    lost = (snapshot.any(axis=1) | antenna.any(axis=1)) & received.any(axis=(1, 2))
    texts = {}
    for scene in np.flatnonzero(lost):
        if snapshot[scene].any():
            number, remedy = np.argmax(snapshot[scene]), "leave it out, together with its code"
            texts[int(scene)] = f"is all zero in snapshot {number}; {remedy}, if it was not received"
        else:
            number = np.argmax(antenna[scene])
            texts[int(scene)] = f"is all zero at antenna {number}, whose channel is not; leave it out of both"
    return texts


def positions_problem(position: np.ndarray, max_range_m: float = MAX_RANGE_M) -> str | None:
    """Reason why positions of sources are in other units than rad, rad and m, or cannot be positions.

    Args:
        position: azimuth, elevation, range, [number, 3].
        max_range_m: largest range.
    """
    if not np.isfinite(position).all():
        return "holds positions that are not finite"
    for column, angle in enumerate(("azimuth", "elevation")):
        largest = np.abs(position[:, column]).max(initial=0)
        if largest > np.pi / 2 + 1e-3:
            return f"holds an {angle} of {largest:g} rad, expected at most pi/2; in degrees? np.radians converts them"
    ranges = position[:, 2]
    if (ranges <= 0).any():
        return f"holds a range of {ranges.min()} m; ranges are positive"
    if (ranges > max_range_m).any():
        return f"holds a range of {ranges.max():g} m, expected at most {max_range_m:g} m; in millimetres?"
    return None


def geometry_problem(geometry: Geometry, array: ArrayConfig) -> tuple[str, str] | None:
    """Reason why a geometry cannot be a measurement of a surface: its extent or wavelength is far from the nominal one.

    Args:
        geometry: ``elements_m`` [..., N, 2] and ``wavelength_m`` [...], numpy arrays or None.
        array: the nominal surface.

    Returns:
        The name of the field and the reason.
    """
    nominal = float(_extent_m(_nominal_elements_m(array)))
    if geometry.elements_m is not None and array.num_elements > 1:
        extent = _extent_m(np.asarray(geometry.elements_m))
        if not extent.all():
            return "elements_m", "places all elements at one point, expected (horizontal, vertical) of each in metres"
        if not _is_close(extent, nominal):
            return "elements_m", (
                f"spans {_span(extent)} m, expected about {nominal:.4g} m as for the nominal surface; positions are in "
                "metres, not millimetres or wavelengths"
            )
    if geometry.wavelength_m is not None:
        wavelength = np.asarray(geometry.wavelength_m)
        if not _is_close(wavelength, array.wavelength_m):
            return "wavelength_m", (
                f"holds {_span(wavelength)} m, expected about {array.wavelength_m:.4g} m; wavelengths are in metres"
            )
    return None


def _nominal_elements_m(array: ArrayConfig) -> np.ndarray:
    if array.elements_m is not None:
        return np.array(array.elements_m)
    corner = np.array([array.num_horizontal - 1, array.num_vertical - 1])
    return np.array([[0.0, 0.0], corner * array.spacing_m])


def _extent_m(elements_m: np.ndarray) -> np.ndarray:
    return np.asarray(np.ptp(elements_m, axis=-2).max(axis=-1))


def _is_close(values: np.ndarray, nominal: float) -> bool:
    return bool(((values <= LARGEST_RATIO * nominal) & (values >= nominal / LARGEST_RATIO)).all())


def masked_problem(array: Any) -> str | None:
    """Reason why an array with masked values cannot be used."""
    hidden = int(np.ma.count_masked(array)) if isinstance(array, np.ma.MaskedArray) else 0
    if not hidden:
        return None
    return (
        f"is a masked array with {hidden} masked values, which cannot be left out one by one; leave out the snapshots "
        "concerned from y together with their codes, and pass plain arrays"
    )


def _span(values: np.ndarray) -> str:
    least, most = f"{values.min():.4g}", f"{values.max():.4g}"
    return least if least == most else f"{least} to {most}"


def _hint(real: np.ndarray) -> str:
    """The correction for the kinds of codes that are stored most often in place of coefficients."""
    least, most, is_whole = real.min(), real.max(), bool((real == np.round(real)).all())
    if is_whole and least >= 0 and most <= 1:
        return "; bits? 1 - 2 * bits are codes of phases 0 and pi"
    if is_whole and least >= 0 and most < 64:
        return f"; indices of phase steps? np.exp(2j * np.pi * index / {1 << int(most).bit_length()})"
    if max(-least, most) <= 2 * np.pi + 1e-3:
        return "; phases in radians? np.exp(1j * phase)"
    if max(-least, most) <= 360:
        return "; phases in degrees? np.exp(1j * np.radians(phase))"
    return ""
