"""Axis scales and trial tables shared by the figures of the search."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class Coordinate:
    """Axis of one setting: linear or logarithmic for numbers, categorical in alphabetical order otherwise."""

    def __init__(self, values: Sequence[Any] | np.ndarray):
        self.numeric = all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values)
        if self.numeric:
            self.low, self.high = float(min(values)), float(max(values))
            self.log = self.low > 0 and self.high / self.low >= 8
        else:
            self.words = sorted({str(value) for value in values})

    def place(self, value: Any) -> float:
        """Return the position of a value on the axis, from 0 to 1."""
        if not self.numeric:
            return self.words.index(str(value)) / max(len(self.words) - 1, 1) if len(self.words) > 1 else 0.5
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[str, float]]:
        """Return tick labels and positions: every category, or the ends and the middle of a numeric axis."""
        if not self.numeric:
            return [(word, self.place(word)) for word in self.words]
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        values = [self.low] if self.low == self.high else [self.low, middle, self.high]
        return [(f"{value:.3g}", self.place(value)) for value in values]


def trial_value(trial: Mapping[str, Any]) -> float:
    """Return the value of a trial, else the last value it reported, else NaN."""
    value = trial.get("value")
    if isinstance(value, int | float):
        return float(value)
    reported = [entry for _, entry in sorted((trial.get("intermediate") or {}).items(), key=lambda e: int(e[0]))]
    last = reported[-1] if reported else None
    return float(last) if isinstance(last, int | float) else math.nan


def two_lines(path: str) -> str:
    """Put the last part of a dotted path on a separate line."""
    section, _, name = path.rpartition(".")
    return f"{section}.\n{name}" if section else name


def trials_by_setting(trials: Sequence[Mapping[str, Any]], metric: str) -> tuple[list[str], dict[str, Any]] | None:
    """Return the names of the searched settings, and number, state, settings and metric of each trial with a value.

    Returns None if fewer than two trials have a value.
    """
    valued = [trial for trial in trials if math.isfinite(trial_value(trial)) and isinstance(trial.get("params"), dict)]
    if len(valued) < 2:
        return None
    names = list({name: None for trial in valued for name in trial["params"]})
    table: dict[str, Any] = {
        "trial": [trial["number"] for trial in valued],
        "state": [str(trial.get("state")) for trial in valued],
    }
    table |= {name: [trial["params"].get(name) for trial in valued] for name in names}
    table[metric] = np.array([trial_value(trial) for trial in valued])
    return names, table
