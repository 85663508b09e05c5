"""One searched setting as an axis, one trial as a value: what the figures of the search share."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class Coordinate:
    """One vertical axis: numbers linearly or logarithmically, anything else by rank of its text."""

    def __init__(self, values: Sequence[Any] | np.ndarray):
        self.numeric = all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values)
        if self.numeric:
            self.low, self.high = float(min(values)), float(max(values))
            self.log = self.low > 0 and self.high / self.low >= 8
        else:
            self.words = sorted({str(value) for value in values})

    def place(self, value: Any) -> float:
        """Where a value stands, from 0 to 1."""
        if not self.numeric:
            return self.words.index(str(value)) / max(len(self.words) - 1, 1) if len(self.words) > 1 else 0.5
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[str, float]]:
        """Labels and their places: every word, or the ends and the middle."""
        if not self.numeric:
            return [(word, self.place(word)) for word in self.words]
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        values = [self.low] if self.low == self.high else [self.low, middle, self.high]
        return [(f"{value:.3g}", self.place(value)) for value in values]


def trial_value(trial: Mapping[str, Any]) -> float:
    """A trial's value; the last one reported where it ended without; NaN where nothing was."""
    value = trial.get("value")
    if isinstance(value, int | float):
        return float(value)
    reported = [entry for _, entry in sorted((trial.get("intermediate") or {}).items(), key=lambda e: int(e[0]))]
    last = reported[-1] if reported else None
    return float(last) if isinstance(last, int | float) else math.nan


def two_lines(path: str) -> str:
    """A dotted path with its name on a line of its own."""
    section, _, name = path.rpartition(".")
    return f"{section}.\n{name}" if section else name


def trials_by_setting(trials: Sequence[Mapping[str, Any]], metric: str) -> tuple[list[str], dict[str, Any]] | None:
    """Names of the settings that were searched, and a table of the trials that have a value: number, state, settings
    and the metric. None where there are fewer than two."""
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
