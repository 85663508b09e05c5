"""Comparison of codebooks, if the stage ``design`` ran."""

from collections.abc import Iterator

from risjax.report.blocks import ReportSection, Text
from risjax.report.reading import Run
from risjax.report.sections.result_tables import result_tables


def code_design_section(run: Run) -> Iterator[ReportSection]:
    """Yield the section of ``design.json``, if the file exists."""
    if not run.design:
        return
    section = ReportSection("design", "Phase codes")
    section.add(
        Text(
            "All codebooks are compared on the same sources, channels and noise, at equal transmitted power. The codes "
            "named designed are those of codes.npy, common to all channels; each_channel are codes designed for the "
            "channel of each scene, which the receiver knows. The column received is the received signal power over "
            "that of codes with independent uniform phases."
        )
    )
    section.add(*result_tables(run.design))
    yield section
