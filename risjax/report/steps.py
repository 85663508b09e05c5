"""The training's steps as columns, and their thinning to what a page can show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

MAX_POINTS = 400
"""Points of a curve: more would be painted over one another."""

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
    """One row a step, in order; NaN where a value was not logged or not finite.

    Attributes:
        step: number of each step, from 0.
        epoch: the epoch that it belongs to.
        columns: loss, gradient norms and so on by their name in the log.
        terms: the loss's terms by name, before their weights.
        finite: whether loss and gradient were finite.
    """

    step: np.ndarray
    epoch: np.ndarray
    columns: dict[str, np.ndarray]
    terms: dict[str, np.ndarray] = field(default_factory=dict)
    finite: np.ndarray = field(default_factory=lambda: np.empty(0, bool))

    def column(self, name: str) -> np.ndarray | None:
        """A column, None where it was never logged."""
        values = self.columns.get(name)
        return None if values is None or np.isnan(values).all() else values


class Thinned(NamedTuple):
    """Means and extremes of consecutive steps: what `thin` leaves of a curve."""

    step: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def read_steps(records: Sequence[dict[str, Any]]) -> StepTable | None:
    """The table behind the log's ``step`` lines; of a step that was run twice (a resumed run) the last counts."""
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
    """At most ``limit`` points: means, least and greatest of runs of consecutive steps, NaN passed over."""
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
