"""What other packages can add to risjax, and the objects with which they register it.

A part (a term of the loss, an estimator, an encoder, a codebook, a simulator of channels or of scenes, a criterion of a
code design) is one object: its name, the section of its settings, and the place of its implementation, which is
imported when it is needed. The parts of risjax are registered in the same way. docs/extending.md lists them, with
examples.

Another package names its object in an entry point:

    [project.entry-points."risjax.loss_terms"]
    peak_power = "my_package.schema:PEAK_POWER"

The module of that object, here ``my_package.schema``, is imported with the configuration. It may import
`risjax.registry`; it must not import `risjax.config` or jax.
"""

from risjax.registry.entry_points import collect, find, implementation_of
from risjax.registry.parts import (
    Channel,
    Codebook,
    DesignCriterion,
    Encoder,
    Estimator,
    LossTerm,
    Part,
    PartWithSection,
    Simulator,
    with_sections,
)
from risjax.registry.section import (
    Fraction,
    FromList,
    Interval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    RegistryError,
    Section,
)
from risjax.registry.term import TermConfig

__all__ = [
    "Channel",
    "Codebook",
    "DesignCriterion",
    "Encoder",
    "Estimator",
    "Fraction",
    "FromList",
    "Interval",
    "LossTerm",
    "NonNegativeFloat",
    "NonNegativeInt",
    "Part",
    "PartWithSection",
    "PositiveFloat",
    "PositiveInt",
    "RegistryError",
    "Section",
    "Simulator",
    "TermConfig",
    "collect",
    "find",
    "implementation_of",
    "with_sections",
]
