"""The verdict: one sentence a baseline, from the paired differences, with their intervals."""

import math
from typing import NamedTuple

from risjax.config.metric import lower_is_better
from risjax.report.methods import is_learned, is_reference, principal, told
from risjax.report.metrics_view import Interval, SourceMetrics
from risjax.report.words import bracket, capitalised, method_name, metric_phrase, number

JUDGED = ("f1_3d", "f1_angle", "gospa_m")
"""The metrics that a verdict rests on; NMSE of the covariance is told, and judged only where these are missing."""


class Verdict(NamedTuple):
    """One method against one baseline.

    Attributes:
        source: the scenes.
        method: a, the one that is judged.
        baseline: b.
        outcome: ``better``, ``worse``, ``mixed`` or ``undecided``, by the intervals of a minus b.
        headline: "Better than sample MVDR".
        sentence: the figures.
        is_reference: whether b is told some of the truth.
    """

    source: str
    method: str
    baseline: str
    outcome: str
    headline: str
    sentence: str
    is_reference: bool


def verdicts(source: SourceMetrics) -> list[Verdict]:
    """The principal method (`risjax.report.methods`) against all that are not learned, references last."""
    methods = list(dict.fromkeys(method for pair in source.pairs for method in pair))
    judged = principal(methods)
    found = []
    for (a, b), differences in source.pairs.items():
        baseline = b if a == judged else a
        if judged is not None and judged in (a, b) and not is_learned(baseline):
            entries = {name: _negated(entry) if b == judged else entry for name, entry in differences.items()}
            found.append(_verdict(source, judged, baseline, entries))
    return sorted(found, key=lambda verdict: verdict.is_reference)


def direction(metric: str, difference: Interval) -> int:
    """1 where the interval of a difference says better, -1 worse, 0 where it holds zero or is not known."""
    if math.isnan(difference.low) or math.isnan(difference.high) or difference.low <= 0 <= difference.high:
        return 0
    return (1 if difference.low > 0 else -1) * (-1 if lower_is_better(metric) else 1)


def _negated(entry: Interval) -> Interval:
    return Interval(-entry.value, -entry.high, -entry.low, entry.count)


def _verdict(source: SourceMetrics, method: str, baseline: str, differences: dict[str, Interval]) -> Verdict:
    judged = [name for name in JUDGED if name in differences] or [name for name in differences if name == "nmse"]
    signs = {direction(name, differences[name]) for name in judged}
    outcome = {
        frozenset(): "undecided",
        frozenset({0}): "undecided",
        frozenset({1}): "better",
        frozenset({0, 1}): "better",
        frozenset({-1}): "worse",
        frozenset({0, -1}): "worse",
    }.get(frozenset(signs), "mixed")
    reference = is_reference(baseline)
    name = method_name(baseline)
    headline = {
        "better": f"Better than {name}",
        "worse": f"Short of {name}" if reference else f"Worse than {name}",
        "mixed": f"Better and worse than {name}",
        "undecided": f"Not told apart from {name}",
    }[outcome]
    shown = judged + [extra for extra in ("nmse",) if extra in differences and extra not in judged]
    parts = [_part(source, method, baseline, metric, differences[metric]) for metric in shown]
    sentence = f"{capitalised(method_name(method))}: " + "; ".join(parts) + "."
    if reference:
        sentence += f" {capitalised(name)} is told {told(baseline)} and serves as a reference."
    return Verdict(source.name, method, baseline, outcome, headline, sentence, reference)


def _part(source: SourceMetrics, method: str, baseline: str, metric: str, difference: Interval) -> str:
    mine, theirs = source.overall(method, metric), source.overall(baseline, metric)
    name = metric_phrase(metric)
    unit = " m" if metric.endswith("_m") else ""
    values = f" {number(mine.value)}{unit} against {number(theirs.value)}{unit}," if mine and theirs else ""
    words = {1: "better by", -1: "worse by", 0: "differing by"}[direction(metric, difference)]
    size = number(abs(difference.value)) if direction(metric, difference) else number(difference.value, sign=True)
    return f"{name}{values} {words} {size}{unit} {_ends(metric, difference)}".rstrip()


def _ends(metric: str, difference: Interval) -> str:
    """The interval, in the sense of the words before it: of the gain or the loss where there is one."""
    sense = direction(metric, difference)
    if sense == 0:
        return bracket(difference, sign=True)
    low, high = sorted((abs(difference.low), abs(difference.high)))
    return bracket(Interval(abs(difference.value), low, high))
