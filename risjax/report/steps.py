"""Training steps as columns, and their reduction to the number of points a figure can show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

MAX_POINTS = 400
"""Maximum number of points in a curve; more would overlap."""

_COLUMNS = (
    "loss",
    "grad_norm_backbone",
    "grad_norm_head",
    "update_norm",
    "param_norm",
    "loss_scale",
    "learning_rate",
    "skipped",
    "scenes_per_second",
)


@dataclass(frozen=True)
class StepTable:
    """One row for each training step, in order; NaN if a value was not logged or not finite.

    Attributes:
        step: index of each step, from 0.
        epoch: epoch of each step.
        columns: loss, gradient norms and other columns by their name in the log.
        terms: unweighted loss terms by name.
        finite: True where loss and gradient were finite.
    """

    step: np.ndarray
    epoch: np.ndarray
    columns: dict[str, np.ndarray]
    terms: dict[str, np.ndarray] = field(default_factory=dict)
    finite: np.ndarray = field(default_factory=lambda: np.empty(0, bool))

    def column(self, name: str) -> np.ndarray | None:
        """Return a column, None if it was never logged."""
        values = self.columns.get(name)
        return None if values is None or np.isnan(values).all() else values


class Thinned(NamedTuple):
    """Mean, minimum and maximum over groups of consecutive steps; the result of `thin`."""

    step: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def read_steps(records: Sequence[dict[str, Any]]) -> StepTable | None:
    """Return the table of the ``step`` records; the last record of a step that a resumed run repeated."""
    by_step = {record["step"]: record for record in records if isinstance(record.get("step"), int)}
    rows = [by_step[step] for step in sorted(by_step)]
    if not rows:
        return None
    names = {name: None for row in rows for name in row.get("terms") or {}}
    return StepTable(
        step=np.array([row["step"] for row in rows]),
        epoch=np.array([_number(row.get("epoch")) for row in rows]),
        columns={name: np.array([_number(row.get(name)) for row in rows]) for name in _COLUMNS},
        terms={name: np.array([_number((row.get("terms") or {}).get(name)) for row in rows]) for name in names},
        finite=np.array([row.get("finite") is not False for row in rows]),
    )


def thin(step: np.ndarray, values: np.ndarray, limit: int = MAX_POINTS) -> Thinned:
    """Reduce a curve to at most ``limit`` points: mean, minimum and maximum of consecutive steps, ignoring NaN."""
    size = math.ceil(len(step) / limit) if len(step) > limit else 1
    starts = range(0, len(step), size)
    blocks = [values[start : start + size] for start in starts]
    finite = [block[np.isfinite(block)] for block in blocks]
    reduce = {
        name: np.array([function(block) if block.size else math.nan for block in finite])
        for name, function in (("mean", np.mean), ("low", np.min), ("high", np.max))
    }
    centre = np.array([step[start : start + size].mean() for start in starts])
    return Thinned(centre, **reduce)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
