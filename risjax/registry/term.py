"""Base class of the section of a loss term."""

from risjax.registry.section import NonNegativeFloat, Section


class TermConfig(Section):
    """One term of the loss and its weight.

    The fields that a term adds are numbers. They are arguments of the compiled program, so that a search over them
    compiles once.
    """

    weight: NonNegativeFloat = 1.0
    """Weight in the sum; 0 leaves the term out of the program."""
