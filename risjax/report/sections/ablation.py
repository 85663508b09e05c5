"""What each part is worth, where the stage ``ablate`` ran."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from risjax.report.blocks import Section, Text
from risjax.report.drawing import Drawing
from risjax.report.figures import paired_differences
from risjax.report.metrics_view import Interval, SourceMetrics, read_intervals
from risjax.report.reading import Run
from risjax.report.sections.tables import grids
from risjax.report.words import method_name

_NETWORK = "network"


def ablation_section(run: Run) -> Iterator[Section]:
    """What ``ablation.json`` says; no section where there is none."""
    if not run.ablation:
        return
    section = Section("ablation", "What each part is worth")
    section.add(Text(_what(run.ablation)), *_forests(run.ablation), *grids(run.ablation))
    yield section


def _what(result: Mapping[str, Any]) -> str:
    seeds = result.get("seeds")
    spread = (
        "Only one seed was trained: the intervals are those of the scenes, and another seed may move every figure by "
        "more."
        if seeds == 1
        else f"Intervals hold what other scenes and other seeds would do: {seeds} trainings a variant, scenes "
        "resampled, Student's law with Satterthwaite's degrees of freedom."
    )
    return (
        "Every variant is this run's configuration with the settings that its row names, trained alike and measured "
        f"on the same {result.get('scenes')} scenes. Differences are from {result.get('reference')}, seed by seed. "
        f"{spread}"
    )


def _forests(result: Mapping[str, Any]) -> Iterator[Drawing]:
    """The differences from the first variant, a figure a method."""
    variants = [entry for entry in result.get("variants", ()) if isinstance(entry, dict)]
    methods = dict.fromkeys(name for entry in variants for name in entry.get("differences", ()) if name != _NETWORK)
    for method in methods:
        pairs: dict[tuple[str, str], dict[str, Interval]] = {}
        for entry in variants:
            both = [entry.get("differences", {}).get(name) for name in (_NETWORK, method)]
            intervals = {name: figure for part in both for name, figure in read_intervals(part).items()}
            if intervals:
                pairs[str(entry.get("name")), str(result.get("reference"))] = intervals
        drawing = paired_differences(SourceMetrics(f"ablation_{method}", pairs=pairs))
        if drawing is not None:
            caption = (
                f"What each variant gains over {result.get('reference')} on the same scenes, seed by seed, with its "
                "95 % interval; right of zero is better. An interval that holds zero decides nothing."
            )
            yield dataclasses.replace(drawing, title=f"Variants, {method_name(method)}", caption=caption)
