"""Base class and types of the sections of a configuration. No module of this package imports jax."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

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
