"""Settings after the network, if the stage ``tune`` ran."""

from collections.abc import Iterator

from risjax.report.blocks import ReportSection, Text
from risjax.report.reading import Run
from risjax.report.sections.result_tables import result_tables


def tuning_section(run: Run) -> Iterator[ReportSection]:
    """Yield the section of ``tune.json``, if the file exists."""
    if not run.tune:
        return
    section = ReportSection("tuning", "Settings after the network")
    chosen = run.tune.get("settings") or {}
    outcome = (
        "Chosen: " + ", ".join(f"{name} = {value}" for name, value in chosen.items()) + "."
        if chosen
        else "No value is better than the run's own by more than its interval."
    )
    section.add(
        Text(
            "Each value is compared with the settings chosen so far, with the trained network unchanged and a "
            f"posterior head of {run.tune.get('head_scenes')} scenes, on the same {run.tune.get('scenes')} scenes. A "
            f"value is chosen if its paired 95 % interval of {run.tune.get('metric')} excludes zero. {outcome}"
        ),
        *result_tables(run.tune),
    )
    yield section
