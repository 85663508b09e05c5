"""A variable of a file that is read in parts, whatever the format: its name, shape and dtype, and a function to read.

Formats differ in how they store complex numbers. A structured dtype of two real fields (MATLAB v7.3: real, imag; h5py:
r, i; recorders: I, Q) and a pair of variables become one complex `Variable` here. A trailing axis of real and imaginary
parts is an axis like any other until `risjax.data.arrangement` has recognised it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from risjax.data.layouts import SceneFileError

_FIELD_PAIRS = (("real", "imag"), ("re", "im"), ("r", "i"), ("i", "q"))
"""Lower-case names of the real and the imaginary field of a structured dtype."""


class Variable(NamedTuple):
    """An array of a file.

    Attributes:
        name: as the user knows it in the file, ``meas.Y``.
        shape: of the whole array; of MATLAB files as MATLAB shows it.
        dtype: of what ``read`` returns.
        read: ``read(axis, start, stop)`` returns the part of the array between two indices of one axis.
        drops_axes: written by MATLAB, which has no vectors and drops trailing axes of size 1.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[int, int, int], np.ndarray]
    drops_axes: bool = False

    def read_all(self) -> np.ndarray:
        """The whole array."""
        return self.read(0, 0, self.shape[0] if self.shape else 1)


class OpenFile(NamedTuple):
    """The variables of a file that is open.

    Attributes:
        names: of the variables at the top, for messages.
        find: the variable of a name, which may lead into structs or groups with dots; None where there is none.
    """

    names: Sequence[str]
    find: Callable[[str], Variable | None]


def in_memory(name: str, array: np.ndarray, *, drops_axes: bool = False) -> Variable:
    """An array as a variable."""

    def read(axis: int, start: int, stop: int) -> np.ndarray:
        return array[(slice(None),) * axis + (slice(start, stop),)] if array.ndim else array

    return complex_of_fields(Variable(name, array.shape, array.dtype, read, drops_axes))


def complex_of_fields(variable: Variable) -> Variable:
    """Return a variable with a structured dtype of real and imaginary parts as a complex one; others unchanged."""
    fields = variable.dtype.names
    if fields is None or len(fields) != 2:
        return variable
    named = {field.lower(): field for field in fields}
    pair = next(((named[a], named[b]) for a, b in _FIELD_PAIRS if {a, b} == set(named)), None)
    if pair is None:
        return variable

    def read(axis: int, start: int, stop: int) -> np.ndarray:
        part = variable.read(axis, start, stop)
        return to_complex(part[pair[0]], part[pair[1]])

    return variable._replace(dtype=_complex_dtype(variable.dtype[0]), read=read)


def complex_of_two(real: Variable, imag: Variable, file: str) -> Variable:
    """Two real variables of one shape as a complex one.

    Raises:
        SceneFileError: two shapes, or a variable that is not real.
    """
    for part in (real, imag):
        if part.dtype.kind not in "fiu":
            raise SceneFileError(f"{file}: {part.name} has dtype {part.dtype}, expected real numbers of a pair")
    if real.shape != imag.shape:
        raise SceneFileError(
            f"{file}: {imag.name} has shape {list(imag.shape)}, expected {list(real.shape)} as of {real.name}"
        )

    def read(axis: int, start: int, stop: int) -> np.ndarray:
        return to_complex(real.read(axis, start, stop), imag.read(axis, start, stop))

    name = f"{real.name} + 1j {imag.name}"
    return Variable(name, real.shape, _complex_dtype(real.dtype), read, real.drops_axes)


def to_complex(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    """Real and imaginary parts, of any real dtype, as complex64 or, from float64 and wide integers, complex128."""
    out = np.empty(real.shape, _complex_dtype(real.dtype))
    out.real, out.imag = real, imag
    return out


def _complex_dtype(part: np.dtype) -> np.dtype:
    return np.dtype(np.complex64 if np.result_type(part, np.float32) == np.float32 else np.complex128)
