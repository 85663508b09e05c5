"""Properties of a method that follow from its name: learned or classical, blind or given part of the truth."""

from collections.abc import Iterable

_FULL = "learned_ml"
"""The complete pipeline: learned covariance, spectrum peaks, joint ML estimation."""


def is_learned(method: str) -> bool:
    """Return True if a method needs a trained network."""
    return method.startswith("learned")


def known_truth(method: str) -> str:
    """Return the part of the truth that a method is given, in words; empty for a blind method."""
    if method.startswith(("oracle", "true_")):
        return "the true covariance and K"
    return "K" if method.endswith("_known_k") else ""


def has_estimation_error(method: str) -> bool:
    """Return False for methods that are given the true covariance: their estimates contain no noise."""
    return not known_truth(method).startswith("the true covariance")


def is_reference(method: str) -> bool:
    """Return True if a method is given part of the truth and therefore serves as a reference."""
    return bool(known_truth(method))


def principal_method(methods: Iterable[str]) -> str | None:
    """Return the method a report evaluates: the complete pipeline, else the first learned, blind or other method."""
    names = list(methods)
    order = [_FULL, *filter(is_learned, names), *(name for name in names if not is_reference(name)), *names]
    return next((name for name in order if name in names), None)
