"""Order of the axes of a file's variables.

====== =====================================================
letter axis
====== =====================================================
S      scenes
L      snapshots
M      antennas of the base station
N      elements of the surface
P      plane of the surface: horizontal, vertical
C      real and imaginary part, of size 2
====== =====================================================

`arrange` finds a string of letters for every variable, "SLM" or "LMC" for snapshots, such that all sizes agree. Axes
that a user names are taken as given.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from risjax.data.layouts import OBSERVED, SceneFileError
from risjax.data.variables import Variable

_FIXED = {"C": 2, "P": 2}
_REAL = ("elements_m", "wavelength_m")


class Arrangement(NamedTuple):
    """Axes of every variable, by its name in `OBSERVED`, and the size of every axis; S is 1 for a single scene."""

    axes: Mapping[str, str]
    sizes: Mapping[str, int]


def arrange(variables: Mapping[str, Variable], given: Mapping[str, str], file: str) -> Arrangement:
    """The axes of all variables.

    Args:
        variables: by their names in `OBSERVED`.
        given: axes that the user states, by the same names.
        file: for messages.

    Raises:
        SceneFileError: no order of the axes fits, or an order that the user states is none.
    """
    options = {name: _options(name, variable, given.get(name), file) for name, variable in variables.items()}
    for choice in itertools.product(*options.values()):
        sizes = _sizes(variables, dict(zip(options, choice, strict=True)))
        if isinstance(sizes, dict):
            return Arrangement(dict(zip(options, choice, strict=True)), sizes)
    first = {name: choices[0] for name, choices in options.items()}
    problem = _sizes(variables, first)
    raise SceneFileError(f"{file}: {problem}{_reversed_hint(variables, options, first)}")


def canonical(array: np.ndarray, axes: str, target: str) -> np.ndarray:
    """An array in the order of ``target``, its real and imaginary parts combined.

    Axes that MATLAB has dropped get size 1; a missing axis of scenes stays missing.
    """
    present = [letter for letter in target if letter in axes]
    array = array.transpose([axes.index(letter) for letter in present] + ([axes.index("C")] if "C" in axes else []))
    if "C" in axes:
        array = array[..., 0] + 1j * array[..., 1]
    for place, letter in enumerate(target.removeprefix("S") if "S" not in axes else target):
        if letter not in axes:
            array = np.expand_dims(array, place)
    return array


def expected_text(name: str, *, is_packed: bool) -> str:
    """The shapes that an array may have, for messages."""
    target = OBSERVED[name]
    packed = ", 2" if is_packed else ""
    shapes = ("[" + ", ".join(letters).replace("P", "2") + packed + "]" for letters in (target, target[1:]))
    return " or ".join(shapes)


def _options(name: str, variable: Variable, given: str | None, file: str) -> list[str]:
    target = OBSERVED[name]
    if given is not None:
        axes = given.replace(" ", "").replace(",", "").upper()
        missing = set(target[1:]) - set(axes)
        if set(axes) - set(target) - {"C"} or missing or len(set(axes)) != len(axes):
            raise SceneFileError(
                f"{file}: axes of {name} are {given!r}, expected the letters {target} in the order of the file, with C "
                "for an axis of real and imaginary parts"
            )
        if len(axes) != len(variable.shape):
            raise SceneFileError(
                f"{file}: {variable.name} has shape {list(variable.shape)}, expected {len(axes)} axes as in {axes}"
            )
        return [axes]
    found = [axes for axes in _usual(name, variable) if len(axes) == len(variable.shape)]
    if not found:
        is_packed = name not in _REAL and variable.dtype.kind != "c" and name != "codes"
        raise SceneFileError(
            f"{file}: {variable.name} has shape {list(variable.shape)}, expected "
            f"{expected_text(name, is_packed=is_packed)}"
        )
    return found


def _usual(name: str, variable: Variable) -> Iterator[str]:
    target = OBSERVED[name]
    shared = target[1:]
    if name not in _REAL and variable.dtype.kind in "fiu" and variable.shape[-1:] == (2,):
        yield from (target + "C", shared + "C")
    yield from (target, shared)
    if variable.drops_axes and name not in ("codes", *_REAL):
        yield target[:-1]  # one antenna, or one element


def _sizes(variables: Mapping[str, Variable], axes: Mapping[str, str]) -> dict[str, int] | str:
    """The size of every axis, or the first contradiction."""
    known: dict[str, tuple[int, str]] = {}
    for name, letters in axes.items():
        variable = variables[name]
        if name == "snapshots" and "S" not in letters:
            known["S"] = (1, variable.name)
        for letter, size in zip(letters, variable.shape, strict=True):
            wanted = known.setdefault(letter, (_FIXED.get(letter, size), variable.name))
            if size != wanted[0]:
                source = f" with {letter} = {wanted[0]} as in {wanted[1]}" if letter not in _FIXED else ""
                stated = "[" + ", ".join(letters).replace("P", "2").replace("C", "2") + "]"
                return f"{variable.name} has shape {list(variable.shape)}, expected {stated}{source}"
            if size == 0:
                return f"{variable.name} has shape {list(variable.shape)}: {letter} = 0, the file holds nothing"
        for letter in set(OBSERVED[name]) - set(letters) - {"S"}:
            if known.setdefault(letter, (1, variable.name))[0] != 1:
                return (
                    f"{variable.name} has shape {list(variable.shape)}, expected an axis of {known[letter][0]} {letter}"
                )
    return {letter: size for letter, (size, _) in known.items()}


def _reversed_hint(
    variables: Mapping[str, Variable], options: Mapping[str, list[str]], first: Mapping[str, str]
) -> str:
    """Advice where the axes of one variable, or of all of them, are in reverse order."""
    for names in (*((name,) for name in variables), tuple(variables)):
        turned = [[axes[::-1] for axes in options[name]] if name in names else options[name] for name in variables]
        for choice in itertools.product(*turned):
            axes = dict(zip(variables, choice, strict=True))
            if isinstance(_sizes(variables, axes), dict):
                stated = ", ".join(f"{name}: {axes[name]}" for name in names if len(axes[name]) > 1)
                return f"; axes reversed? axes={{{stated}}} fits"
    return ""
