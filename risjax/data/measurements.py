"""Observations of an open file: its variables found, arranged, checked and read in parts."""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from risjax.config.errors import did_you_mean
from risjax.data.arrangement import Arrangement, arrange, canonical, expected_text
from risjax.data.hdf5 import SUFFIXES, is_hdf5, open_hdf5
from risjax.data.layouts import ALIASES, LABELS, OBSERVED, REQUIRED, SceneFileError
from risjax.data.matlab import open_mat5
from risjax.data.npz import open_npz
from risjax.data.variables import OpenFile, Variable, complex_of_two, in_memory
from risjax.physics.received_arrays import codes_problem, complex_problem
from risjax.types import Geometry, Observation


class Reading(NamedTuple):
    """Options of reading a file.

    Attributes:
        names: the file's variable of an array of `risjax.data.layouts`, dotted into structs and groups; a pair of names
            is real and imaginary part.
        axes: the order of a variable's axes in the file, by the letters of `risjax.data.arrangement`.
        codes_measured: the codes are measured reflection coefficients of any modulus.
    """

    names: Mapping[str, str | Sequence[str]] = {}
    axes: Mapping[str, str] = {}
    codes_measured: bool = False


USUAL = Reading()
"""The names and axes of `risjax.data.layouts`, and codes of modulus 1."""


class Measurements(NamedTuple):
    """The observations of an open file.

    Attributes:
        file: for messages.
        opened: its variables.
        found: those that the receiver knows, by their names in `OBSERVED`.
        arrangement: their axes.
        reading: what the user states.
    """

    file: str
    opened: OpenFile
    found: Mapping[str, Variable]
    arrangement: Arrangement
    reading: Reading

    @property
    def num_scenes(self) -> int:
        """S, 1 for a single scene."""
        return self.arrangement.sizes["S"]

    def num_bytes(self) -> dict[str, int]:
        """Bytes of every variable in memory."""
        return {v.name: int(np.prod(v.shape, dtype=np.int64)) * v.dtype.itemsize for v in self.found.values()}

    def read(self, start: int, stop: int) -> Observation:
        """Scenes ``start`` to ``stop``, with a leading axis; values that complex64 cannot hold become infinite.

        Raises:
            SceneFileError: a damaged file, codes other than reflection coefficients, or measurements without an
                imaginary part.
        """
        arrays = {name: self._part(name, start, stop) for name in self.found}
        with np.errstate(over="ignore", invalid="ignore"):
            parts = [arrays[name].astype(np.complex64) for name in REQUIRED]
            surface = {name: arrays[name].astype(np.float32) for name in Geometry._fields if name in arrays}
        for name, array in zip(REQUIRED, parts, strict=True):
            self._check_values(name, array)
        geometry = Geometry._make(surface.get(name) for name in Geometry._fields) if surface else None
        return Observation._make((*parts, geometry))

    def _part(self, name: str, start: int, stop: int) -> np.ndarray:
        variable, axes = self.found[name], self.arrangement.axes[name]
        stored = variable.read(axes.index("S"), start, stop) if "S" in axes else variable.read_all()
        array = canonical(stored, axes, OBSERVED[name])
        return array if "S" in axes else np.broadcast_to(array, (stop - start, *array.shape))

    def _check_values(self, name: str, array: np.ndarray) -> None:
        """Scenes of zeros are left to the caller, who names them."""
        with np.errstate(invalid="ignore"):  # the caller reports a signalling NaN with its scene
            if name == "codes":
                problem = codes_problem(array[array.any(axis=(1, 2))], measured=self.reading.codes_measured)
            else:
                problem = complex_problem(array)
        if problem:
            raise SceneFileError(f"{self.file}: {self.found[name].name} {problem}")


@contextlib.contextmanager
def open_measurements(file: Path, reading: Reading = USUAL) -> Iterator[Measurements]:
    """The observations of a file.

    Raises:
        SceneFileError: no scene file, a damaged one, or arrays that do not fit together.
    """
    if is_matlab := file.suffix.lower() == ".mat":
        opener = open_hdf5 if is_hdf5(file) else open_mat5
    else:
        opener = open_hdf5 if file.suffix.lower() in SUFFIXES else open_npz
    with opener(file) as opened:
        found = _found(opened, reading, str(file))
        if is_matlab and "wavelength_m" in found:
            found["wavelength_m"] = as_vector(found["wavelength_m"])
        arrangement = arrange(found, reading.axes, str(file))
        for name in ("snapshots", "channel"):
            if found[name].dtype.kind != "c" and "C" not in arrangement.axes[name]:
                raise SceneFileError(f"{file}: {found[name].name} has dtype {found[name].dtype}, expected complex")
        yield Measurements(str(file), opened, found, arrangement, reading)


def find(name: str, opened: OpenFile, reading: Reading, file: str) -> Variable | None:
    """The variable of an array of a layout, None where the file has none.

    Raises:
        SceneFileError: a name that the user states is not in the file.
    """
    stated = reading.names.get(name)
    if stated is None:
        options = ALIASES.get(name, (name,))
        return next((found for found in map(opened.find, options) if found is not None), None)
    parts = [stated] if isinstance(stated, str) else list(stated)
    variables = []
    for part in parts:
        variable = opened.find(part)
        if variable is None:
            raise SceneFileError(
                f"{file}: no variable {part} for {name}; the file contains {_listed(opened.names)}"
                f"{did_you_mean(part, list(opened.names))}"
            )
        variables.append(variable)
    if len(variables) == 2:
        return complex_of_two(variables[0], variables[1], file)
    if len(variables) != 1:
        raise SceneFileError(f"{file}: names of {name} are {parts}, expected one variable, or real and imaginary part")
    return variables[0]


def as_vector(variable: Variable) -> Variable:
    """Return a vector that MATLAB stored as a column or a row, without the axis of size 1."""
    if len(variable.shape) == 2 and 1 in variable.shape:
        return in_memory(variable.name, variable.read_all().reshape(-1))
    return variable


def _found(opened: OpenFile, reading: Reading, file: str) -> dict[str, Variable]:
    known = (*OBSERVED, *LABELS)
    for option, stated in (("names", reading.names), ("axes", reading.axes)):
        unknown = [name for name in stated if name not in known]
        if unknown:
            raise SceneFileError(
                f"{file}: {option} has the unknown key {unknown[0]}, expected some of {', '.join(known)}"
                f"{did_you_mean(unknown[0], known)}"
            )
    looked_up = {name: find(name, opened, reading, file) for name in OBSERVED}
    found = {name: variable for name, variable in looked_up.items() if variable is not None}
    if "snapshots" not in found:
        raise SceneFileError(
            f"{file}: not a scene file: it contains {_listed(opened.names)}; expected snapshots, channel, codes (or y, "
            "H, codes); names={snapshots: ..., channel: ..., codes: ...} states other names"
        )
    problems = [f"{name} is missing" for name in REQUIRED if name not in found]
    problems += [problem for name in found if (problem := _dtype_problem(name, found[name]))]
    if problems:
        raise SceneFileError(f"{file}: {'; '.join(problems)}")
    return found


def _dtype_problem(name: str, variable: Variable) -> str | None:
    kind = variable.dtype.kind
    if name in Geometry._fields:
        return None if kind in "fiu" else f"{variable.name} has dtype {variable.dtype}, expected float"
    if kind in "fiuc" or (name == "codes" and kind == "b"):
        return None
    return f"{variable.name} has dtype {variable.dtype}, expected complex numbers of shape " + expected_text(
        name, is_packed=False
    )


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:12]) or "nothing"
