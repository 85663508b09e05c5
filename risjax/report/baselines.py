"""Comparison of the principal method with each baseline, from paired differences and their intervals."""

import math
from typing import NamedTuple

from risjax.config.metric import lower_is_better
from risjax.report.display_names import bracket, capitalised, method_name, metric_phrase, number
from risjax.report.method_properties import is_learned, is_reference, known_truth, principal_method
from risjax.report.metrics_view import Interval, SourceMetrics

DECISIVE_METRICS = ("f1_3d", "f1_angle", "gospa_m")
"""Metrics that decide a comparison; the NMSE of the covariance is listed, and decides only if these are missing."""


class Comparison(NamedTuple):
    """One method against one baseline.

    Attributes:
        source: name of the scene source.
        method: a, the evaluated method.
        baseline: b, the method it is compared with.
        outcome: ``better``, ``worse``, ``mixed`` or ``undecided``, from the intervals of a minus b.
        headline: summary, such as "Better than sample MVDR".
        sentence: metrics, differences and intervals.
        is_reference: True if b is given part of the truth.
    """

    source: str
    method: str
    baseline: str
    outcome: str
    headline: str
    sentence: str
    is_reference: bool


def compare_with_baselines(source: SourceMetrics) -> list[Comparison]:
    """Compare the principal method (`risjax.report.method_properties`) with every one not learned, references last."""
    methods = list(dict.fromkeys(method for pair in source.pairs for method in pair))
    judged = principal_method(methods)
    found = []
    for (a, b), differences in source.pairs.items():
        baseline = b if a == judged else a
        if judged is not None and judged in (a, b) and not is_learned(baseline):
            entries = {name: _negated(entry) if b == judged else entry for name, entry in differences.items()}
            found.append(_compare(source, judged, baseline, entries))
    return sorted(found, key=lambda comparison: comparison.is_reference)


def direction(metric: str, difference: Interval) -> int:
    """Return 1 if a difference is significantly better, -1 if worse, 0 if its interval contains zero or is unknown."""
    if math.isnan(difference.low) or math.isnan(difference.high) or difference.low <= 0 <= difference.high:
        return 0
    return (1 if difference.low > 0 else -1) * (-1 if lower_is_better(metric) else 1)


def _negated(entry: Interval) -> Interval:
    return Interval(-entry.value, -entry.high, -entry.low, entry.count)


def _compare(source: SourceMetrics, method: str, baseline: str, differences: dict[str, Interval]) -> Comparison:
    judged = [name for name in DECISIVE_METRICS if name in differences] or [
        name for name in differences if name == "nmse"
    ]
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
        "worse": f"Worse than {name}",
        "mixed": f"Mixed results against {name}",
        "undecided": f"No significant difference from {name}",
    }[outcome]
    shown = judged + [extra for extra in ("nmse",) if extra in differences and extra not in judged]
    parts = [_part(source, method, baseline, metric, differences[metric]) for metric in shown]
    sentence = f"{capitalised(method_name(method))}: " + "; ".join(parts) + "."
    if reference:
        sentence += f" {capitalised(name)} is given {known_truth(baseline)} and serves as a reference."
    return Comparison(source.name, method, baseline, outcome, headline, sentence, reference)


def _part(source: SourceMetrics, method: str, baseline: str, metric: str, difference: Interval) -> str:
    value, reference = source.overall(method, metric), source.overall(baseline, metric)
    name = metric_phrase(metric)
    unit = " m" if metric.endswith("_m") else ""
    values = f" {number(value.value)}{unit} against {number(reference.value)}{unit}," if value and reference else ""
    words = {1: "better by", -1: "worse by", 0: "difference"}[direction(metric, difference)]
    size = number(abs(difference.value)) if direction(metric, difference) else number(difference.value, sign=True)
    return f"{name}{values} {words} {size}{unit} {_ends(metric, difference)}".rstrip()


def _ends(metric: str, difference: Interval) -> str:
    """Format the interval with the sign of the preceding words: of the gain or loss, or signed if undecided."""
    sense = direction(metric, difference)
    if sense == 0:
        return bracket(difference, sign=True)
    low, high = sorted((abs(difference.low), abs(difference.high)))
    return bracket(Interval(abs(difference.value), low, high))
