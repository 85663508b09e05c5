"""Bayes limit, phase codes and settings after the network: sections that are tables with an introduction."""

from collections.abc import Iterator
from typing import Any

from risjax.report.blocks import ReportSection, Text
from risjax.report.reading import Run
from risjax.report.sections.result_tables import result_tables

_LIMIT = (
    "The posterior of single scenes is sampled under the distributions of the simulator. Each decision is optimal for "
    "its metric. A method that exceeds it by more than the interval uses information that is not in the measurements."
)
_DESIGN = (
    "All codebooks are compared on the same sources, channels and noise, at equal transmitted power. The codes named "
    "designed are those of codes.npy, common to all channels; each_channel are codes designed for the channel of each "
    "scene, which the receiver knows. The column received is the received signal power over that of codes with "
    "independent uniform phases."
)


def limit_section(run: Run) -> Iterator[ReportSection]:
    """Yield the section of ``limit.json``, if the file exists."""
    yield from _section("limit", "Bayes limit", _LIMIT, run.limit)


def code_design_section(run: Run) -> Iterator[ReportSection]:
    """Yield the section of ``design.json``, if the file exists."""
    yield from _section("design", "Phase codes", _DESIGN, run.design)


def tuning_section(run: Run) -> Iterator[ReportSection]:
    """Yield the section of ``tune.json``, if the file exists."""
    chosen = run.tune.get("settings") or {}
    outcome = (
        "Chosen: " + ", ".join(f"{name} = {value}" for name, value in chosen.items()) + "."
        if chosen
        else "No value is better than the run's own by more than its interval."
    )
    introduction = (
        "Each value is compared with the settings chosen so far, with the trained network unchanged and a posterior "
        f"head of {run.tune.get('head_scenes')} scenes, on the same {run.tune.get('scenes')} scenes. A value is chosen "
        f"if its paired 95 % interval of {run.tune.get('metric')} excludes zero. {outcome}"
    )
    yield from _section("tuning", "Settings after the network", introduction, run.tune)


def _section(name: str, title: str, introduction: str, result: dict[str, Any]) -> Iterator[ReportSection]:
    if result:
        section = ReportSection(name, title)
        section.add(Text(introduction), *result_tables(result))
        yield section
