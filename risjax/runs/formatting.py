"""Durations, rates and values as text."""

from typing import Any


def rate_text(per_second: float | int) -> str:
    """Return a rate as ``20.3/s``, or as ``3.2 s each`` below one per second."""
    return f"{per_second:.3g}/s" if per_second >= 1 else f"{1 / per_second:.3g} s each"


def duration_text(seconds: float | int) -> str:
    """Return a duration in its two largest units: ``8 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    seconds = round(seconds)
    for (big, big_name), (small, small_name) in (
        ((86400, "d"), (3600, "h")),
        ((3600, "h"), (60, "min")),
        ((60, "min"), (1, "s")),
    ):
        if seconds >= big:
            rest = seconds % big // small
            return f"{seconds // big} {big_name}" + (f" {rest} {small_name}" if rest else "")
    return f"{seconds} s"


def value_text(value: Any) -> str:
    """Return a float with four digits, ``-`` for None, and ``str`` of other values."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
