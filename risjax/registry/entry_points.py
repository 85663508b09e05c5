"""Discovery of registered parts: those of risjax and those that entry points of other packages name."""

import importlib
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from risjax.registry.parts import Part
from risjax.registry.section import RegistryError

AnyPart = TypeVar("AnyPart", bound=Part)


def collect(group: str, kind: type[AnyPart], built_in: Iterable[AnyPart]) -> dict[str, AnyPart]:
    """Return the parts of one kind by their names: those of risjax, then those of other packages by name.

    Args:
        group: entry points that name such parts, as ``risjax.loss_terms``.
        kind: their class.
        built_in: the parts of risjax.

    Raises:
        RegistryError: an entry point that cannot be loaded, of another kind or name, or with the name of another part.
    """
    parts = {part.name: part for part in built_in}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        part = _load(point, kind)
        if part.name in parts:
            raise RegistryError(f"{_described(point)} registers {part.name!r}, which exists already; rename it")
        parts[part.name] = part
    return parts


def _load(point: EntryPoint, kind: type[AnyPart]) -> AnyPart:
    had_jax = "jax" in sys.modules
    try:
        part = point.load()
    except (ImportError, AttributeError, ValueError) as error:
        raise RegistryError(f"{_described(point)} cannot be loaded: {error}; fix or uninstall that package") from error
    if not isinstance(part, kind):
        raise RegistryError(f"{_described(point)} is {part!r}, expected a risjax.registry.{kind.__name__}")
    if part.name != point.name:
        raise RegistryError(f"{_described(point)} registers the name {part.name!r}; give both the same name")
    if not had_jax and "jax" in sys.modules:
        raise RegistryError(
            f"{_described(point)} imports jax, expected a module of settings alone; move the implementation to another "
            "module and give its place as text, module:attribute"
        )
    return part


def find(place: str) -> Any:
    """Import the object of a ``module:attribute`` name."""
    module, attributes = place.split(":")
    found: Any = importlib.import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    return found


def implementation_of(part: Part) -> Any:
    """Import the implementation of a part.

    Raises:
        RegistryError: the module or its attribute does not exist.
    """
    try:
        return find(part.implementation)
    except (ImportError, AttributeError) as error:
        raise RegistryError(
            f"the implementation of {part.name!r}, {part.implementation}, cannot be imported: {error}"
        ) from error


def _described(point: EntryPoint) -> str:
    package = point.dist.name if point.dist is not None else "an unknown package"
    return f"the entry point {point.name} = {point.value!r} of {package} in the group {point.group}"
