"""Traced settings of the loss.

The numbers are those of the schema, under the same names. A term of weight zero is left out of the settings and
therefore out of the compiled program.
"""

from collections.abc import Mapping
from typing import NamedTuple

from risjax.config import LossConfig
from risjax.loss.term import Number
from risjax.registry import TermConfig


class LossSettings(NamedTuple):
    """Numbers of `LossConfig` that the program takes as arguments, so that one program serves many configurations.

    Attributes:
        weights: weight of each term that is part of the program.
        numbers: further settings of each of these terms that has some, by their names.
    """

    weights: Mapping[str, Number]
    numbers: Mapping[str, Mapping[str, Number]]


def loss_settings(config: LossConfig) -> LossSettings:
    """Settings of a configuration, as Python numbers; only terms with a weight above zero are part of the program."""
    active = {name: term for name, term in config.terms.items() if term.weight > 0}
    numbers = {name: _own_numbers(term) for name, term in active.items()}
    return LossSettings(
        weights={name: term.weight for name, term in active.items()},
        numbers={name: values for name, values in numbers.items() if values},
    )


def _own_numbers(term: TermConfig) -> dict[str, Number]:
    """The settings that a term's section adds to those of every term."""
    return {name: value for name, value in term if name not in TermConfig.model_fields}
