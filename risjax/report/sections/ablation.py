"""Ablation study, if the stage ``ablate`` ran."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from risjax.report.blocks import ReportSection, Text
from risjax.report.display_names import method_name
from risjax.report.drawing import Drawing
from risjax.report.figures import paired_differences
from risjax.report.metrics_view import Interval, SourceMetrics, read_intervals
from risjax.report.reading import Run
from risjax.report.sections.result_tables import result_tables

_NETWORK = "network"


def ablation_section(run: Run) -> Iterator[ReportSection]:
    """Yield the section of ``ablation.json``, if the file exists."""
    if not run.ablation:
        return
    section = ReportSection("ablation", "Ablation")
    section.add(Text(_introduction(run.ablation)), *_forests(run.ablation), *result_tables(run.ablation))
    yield section


def _introduction(result: Mapping[str, Any]) -> str:
    seeds = result.get("seeds")
    spread = (
        "Only one seed was trained. The intervals cover the variation between scenes, not between seeds, which may be "
        "larger."
        if seeds == 1
        else f"Intervals cover the variation between scenes and between seeds: {seeds} trainings for each "
        "variant, scenes resampled, Student's t distribution with Satterthwaite's degrees of freedom."
    )
    return (
        "Each variant changes the settings given in its row. All are trained in the same way and evaluated on "
        f"the same {result.get('scenes')} scenes. Differences are from {result.get('reference')}, seed by seed. "
        f"{spread}"
    )


def _forests(result: Mapping[str, Any]) -> Iterator[Drawing]:
    """Yield one figure for each method: the differences of the variants from the reference."""
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
                f"Gain of each variant over {result.get('reference')} on the same scenes, seed by seed, with its "
                "95 % interval; values to the right of zero are better. If the interval contains zero, the difference "
                "is not significant."
            )
            yield dataclasses.replace(drawing, title=f"Ablation variants, {method_name(method)}", caption=caption)
