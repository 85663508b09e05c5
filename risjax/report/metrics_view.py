"""View of ``metrics.json`` for figures and tables, indexed by method, breakdown and metric.

The file is ``sources.<name>.methods.<method>.<breakdown>.<metric> = {value, low, high, count}`` and
``sources.<name>.pairs.<a>_minus_<b>.<breakdown>.<metric>`` likewise. A breakdown is ``overall`` or a slice
such as ``snr_db:-5..0`` or ``k:3``; axis and bounds are parsed from the name.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from risjax.config.deprecated import current_method

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf\b")


class Interval(NamedTuple):
    """An estimate with its 95 % interval; NaN if there is none, ``count`` 0 if unknown."""

    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 0


class Slice(NamedTuple):
    """One breakdown: its axis and its bounds; ``overall`` has no bounds.

    A slice at a single value (K = 3) has equal bounds. An open end is infinite.
    """

    key: str
    axis: str
    low: float = math.nan
    high: float = math.nan

    @property
    def centre(self) -> float:
        """Position of the slice on its axis: the midpoint, or the finite bound of an open slice."""
        if math.isinf(self.low):
            return self.high
        return self.low if math.isinf(self.high) else (self.low + self.high) / 2


@dataclass
class SourceMetrics:
    """The evaluation on one scene source.

    Attributes:
        name: name of the source.
        scenes: number of scenes, 0 if unknown.
        methods: {method: {slice: {metric: interval}}}, methods in the file's order.
        pairs: {(a, b): {metric: interval of a minus b}}, over all scenes.
        timing: {method: {quantity: value}}.
        notes: remarks of the evaluation.
    """

    name: str
    scenes: int = 0
    methods: dict[str, dict[Slice, dict[str, Interval]]] = field(default_factory=dict)
    pairs: dict[tuple[str, str], dict[str, Interval]] = field(default_factory=dict)
    timing: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def overall(self, method: str, metric: str) -> Interval | None:
        """Return a metric over all scenes, None if it was not measured."""
        for part, metrics in self.methods.get(method, {}).items():
            if part.axis == "overall":
                return metrics.get(metric)
        return None

    def metrics(self) -> list[str]:
        """Return all metrics of the ``overall`` breakdowns, in the order of the file."""
        names: dict[str, None] = {}
        for slices in self.methods.values():
            for part, metrics in slices.items():
                if part.axis == "overall":
                    names |= dict.fromkeys(metrics)
        return list(names)

    def along(self, axis: str, method: str, metric: str) -> list[tuple[Slice, Interval]]:
        """Return the slices of a metric along an axis, in increasing order."""
        found = [
            (part, metrics[metric])
            for part, metrics in self.methods.get(method, {}).items()
            if part.axis == axis and metric in metrics and math.isfinite(metrics[metric].value)
        ]
        return sorted(found, key=lambda entry: entry[0].centre)

    def axes(self) -> list[str]:
        """Return the axes of the breakdowns, without ``overall``."""
        found = {part.axis: None for slices in self.methods.values() for part in slices}
        return [axis for axis in found if axis != "overall"]


def read_sources(metrics: Mapping[str, Any], note: Callable[[str], None]) -> list[SourceMetrics]:
    """Return the sources of a parsed ``metrics.json``; malformed entries are omitted, with a note."""
    sources = metrics.get("sources")
    if not isinstance(sources, Mapping):
        if metrics:
            note("metrics.json has no 'sources'; the evaluation is omitted.")
        return []
    found = []
    for name, entry in sources.items():
        if isinstance(entry, Mapping) and isinstance(entry.get("methods"), Mapping):
            found.append(_read_source(str(name), entry))
        else:
            note(f"metrics.json: source {name!r} has no 'methods' and is omitted.")
    return found


def parse_slice(key: str) -> Slice:
    """Parse the name of a breakdown.

    Example:
        >>> parse_slice("snr_db:-5..0")
        Slice(key='snr_db:-5..0', axis='snr_db', low=-5.0, high=0.0)
    """
    name = re.match(r"[A-Za-z]+(?:_[A-Za-z]+)*", key)
    axis = name.group().lower() if name else key
    rest = key[name.end() :] if name else ""
    numbers = [float(text) for text in _NUMBER.findall(rest.replace("..", " ").replace("_", " "))]
    if not numbers:
        return Slice(key, key if rest else axis)
    return Slice(key, axis, numbers[0], numbers[-1])


def _read_source(name: str, entry: Mapping[str, Any]) -> SourceMetrics:
    methods = {
        current_method(str(method)): {
            parse_slice(str(key)): values for key, part in slices.items() if (values := read_intervals(part))
        }
        for method, slices in entry["methods"].items()
        if isinstance(slices, Mapping)
    }
    timing = entry.get("timing")
    return SourceMetrics(
        name=name,
        scenes=entry["scenes"] if isinstance(entry.get("scenes"), int) else 0,
        methods=methods,
        pairs=dict(_pairs(entry.get("pairs"))),
        timing=_timing(timing) if isinstance(timing, Mapping) else {},
        notes=[str(note) for note in entry["notes"]] if isinstance(entry.get("notes"), list) else [],
    )


def _pairs(entries: Any) -> Iterator[tuple[tuple[str, str], dict[str, Interval]]]:
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        first, separator, second = str(name).partition("_minus_")
        if separator and isinstance(entry, Mapping):
            values = read_intervals(entry.get("overall")) or read_intervals(entry)
            if values:
                yield (current_method(first), current_method(second)), values


def read_intervals(part: Any) -> dict[str, Interval]:
    """Return the intervals of a mapping by name; other entries are ignored."""
    if not isinstance(part, Mapping):
        return {}
    return {str(name): read for name, entry in part.items() if (read := _interval(entry)) is not None}


def _interval(entry: Any) -> Interval | None:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("value"), int | float):
        return None
    low, high = (entry[end] if isinstance(entry.get(end), int | float) else math.nan for end in ("low", "high"))
    count = entry.get("count")
    return Interval(float(entry["value"]), float(low), float(high), count if isinstance(count, int) else 0)


def _timing(timing: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    read: dict[str, dict[str, float]] = {}
    for method, entry in timing.items():
        values = entry if isinstance(entry, Mapping) else {"seconds": entry}
        numbers = {str(name): float(value) for name, value in values.items() if _is_number(value)}
        if numbers:
            read[current_method(str(method))] = numbers
    return read


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
