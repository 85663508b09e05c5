"""What a method's name says about it: learned or not, blind or told something of the truth."""

from collections.abc import Iterable

_FULL = "learned_ml"
"""The whole pipeline: learned covariance, peaks, joint ML polish."""


def is_learned(method: str) -> bool:
    """Whether a method needs a trained network."""
    return method.startswith("learned")


def told(method: str) -> str:
    """What a method is told of the truth, in words; empty for a blind one."""
    if method.startswith(("oracle", "true_")):
        return "the true covariance and K"
    return "K" if method.endswith("_told_k") else ""


def makes_errors(method: str) -> bool:
    """Whether a method's errors mean something: given the true covariance, there is no noise to err by."""
    return not told(method).startswith("the true covariance")


def is_reference(method: str) -> bool:
    """Whether a method is told something of the truth: a reference, no competitor."""
    return bool(told(method))


def principal(methods: Iterable[str]) -> str | None:
    """The method that a report judges: of the learned ones the whole pipeline; where none is learned, the first."""
    names = list(methods)
    order = [_FULL, *filter(is_learned, names), *(name for name in names if not is_reference(name)), *names]
    return next((name for name in order if name in names), None)
