"""Base class and types of the sections of a configuration. No module of this package imports jax."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from risjax._compat.pydantic import FrozenModel


class RegistryError(ImportError):
    """A part of another package that cannot be used; the message names the package and its entry point."""


class Section(BaseModel, metaclass=FrozenModel):
    """A frozen, strict section: unknown keys, wrong types, NaN and infinities are errors.

    Frozen sections of hashable values are hashable, so they serve as static arguments of jitted functions.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


def with_sections(base: type[Section], sections: Mapping[str, type[Section]]) -> type[Section]:
    """Return ``base``, a class called ``_Name``, as ``Name`` with further sections at their defaults.

    Args:
        base: class with the fields of risjax.
        sections: classes of the registered parts' settings, by their names.

    Raises:
        RegistryError: a name that is a field of the base already.
    """
    taken = [name for name in sections if name in base.model_fields]
    if taken:
        raise RegistryError(f"{', '.join(taken)}: settings of a registered part, expected a name that is not in use")
    fields: dict[str, Any] = {name: (section, section()) for name, section in sections.items()}
    name, text = base.__name__.removeprefix("_"), base.__doc__
    return create_model(name, __base__=base, __module__=base.__module__, __doc__=text, **fields)


def _tuple_from_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


FromList = BeforeValidator(_tuple_from_list)
"""Tuple from a list: YAML has lists, frozen sections hold tuples, and strict mode converts neither."""

Interval = Annotated[tuple[float, float], FromList]
"""[low, high], both included."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]
PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]


def check_ordered(name: str, interval: tuple[float, float], *, strictly: bool = False) -> None:
    """Raises ValueError unless low <= high, or, ``strictly``, low < high."""
    low, high = interval
    if low > high or (strictly and low == high):
        relation = "<" if strictly else "<="
        raise ValueError(f"{name} must be [low, high] with low {relation} high, got [{low}, {high}]; swap the two?")
