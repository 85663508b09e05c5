"""Comparison with the baselines, and overview of the run."""

from collections.abc import Iterator
from typing import Any

from risjax.report.baselines import compare_with_baselines
from risjax.report.blocks import (
    Cell,
    CollapsedText,
    ComparisonList,
    Notice,
    PropertyList,
    ReportSection,
    TableBlock,
    Text,
)
from risjax.report.display_names import NO_VALUE, number
from risjax.report.figures import paired_differences
from risjax.report.reading import Run
from risjax.runs.formatting import duration_text


def baselines_section(run: Run) -> Iterator[ReportSection]:
    """Yield the comparison with each baseline for each source, with the paired differences."""
    section = ReportSection("baselines", "Comparison with the baselines")
    if not run.sources:
        section.add(
            Notice("Nothing was evaluated, so no methods are compared. Run the stage `evaluate` to write metrics.json.")
        )
        yield section
        return
    for source in run.sources:
        found = compare_with_baselines(source)
        if found:
            section.add(ComparisonList(found))
            section.add(paired_differences(source, [_stored(source.pairs, v.method, v.baseline) for v in found]))
        else:
            section.add(
                Notice(f"No methods were compared on {source.name}: metrics.json contains no pairs for this source.")
            )
    section.add(
        Text(
            "Intervals are 95 % bootstrap intervals over scenes. A method is called better if the paired difference is "
            "significantly better in at least one of F1 in 3-D, F1 in angle and GOSPA, and significantly worse in none "
            "(and vice versa). A difference is significant if its interval excludes zero."
        )
    )
    yield section


def run_section(run: Run) -> Iterator[ReportSection]:
    """Yield the overview: notes on missing data, stages, settings and versions."""
    section = ReportSection("run", "Run")
    section.add(*(Notice(note) for note in run.notes))
    section.add(_stages(run))
    section.add(PropertyList("Scenes", _physics(run)), PropertyList("Learning", _learning(run)))
    if run.winner:
        rows = [[path, _show(run.setting(path)), _show(value)] for path, value in run.winner.items()]
        section.add(
            TableBlock(
                ("Setting", "Configured", "Used in training"),
                rows,
                "Settings changed by the search to the values of the best trial.",
            )
        )
    recorded = run.environment.get("recorded")
    title = "Versions and hardware" + (" (at the time of this report; the run recorded none)" if recorded else "")
    section.add(PropertyList(title, [(name, value) for name, value in run.environment.items() if name != "recorded"]))
    if run.config_text:
        section.add(CollapsedText("Complete configuration (config.yaml)", run.config_text))
    yield section


def _stored(pairs: dict, a: str, b: str) -> tuple[str, str]:
    return (a, b) if (a, b) in pairs else (b, a)


def _stages(run: Run) -> TableBlock | Notice:
    wanted = run.setting("stages", [])
    rows = []
    for stage in wanted:
        record = run.stage_records.get(stage, {})
        seconds, peak = record.get("seconds"), record.get("peak_memory_bytes")
        state = "failed" if record.get("passed") is False else "done" if stage in run.stages else "not finished"
        if stage == "report" and stage not in run.stages:
            state = "this page"
        rows.append(
            [
                stage,
                Cell(state),
                Cell(duration_text(seconds) if isinstance(seconds, int | float) else NO_VALUE),
                Cell(f"{peak / 2**20:,.0f} MiB" if isinstance(peak, int | float) else NO_VALUE),
                Cell(run.stages.get(stage, NO_VALUE).replace("T", " ")[:16]),
            ]
        )
    if not rows:
        return Notice("The stages of this run are unknown.")
    columns = ("Stage", "State", "Time", "Peak host memory", "Finished")
    return TableBlock(
        columns, rows, "Memory is the peak of the main process up to the end of the stage, without accelerator memory."
    )


def _physics(run: Run) -> list[tuple[str, str]]:
    def get(path: str) -> Any:
        return run.setting(f"physics.{path}")

    facts = [
        (
            "Surface",
            _join(
                " \N{MULTIPLICATION SIGN} ", get("array.num_horizontal"), get("array.num_vertical"), suffix=" elements"
            ),
        ),
        ("Wavefront", _show(get("array.wavefront"))),
        ("Antennas", _show(get("channel.num_antennas"))),
        ("Snapshots", _show(get("codebook.num_snapshots"))),
        ("Sources", _interval(get("scene.num_sources"))),
        ("SNR", _interval(get("scene.snr_db"), " dB")),
        ("Range", _interval(get("scene.range_m"), " m")),
        ("Azimuth", _interval(get("scene.azimuth_deg"), "°")),
        ("Elevation", _interval(get("scene.elevation_deg"), "°")),
    ]
    return [(name, value) for name, value in facts if value]


def _learning(run: Run) -> list[tuple[str, str]]:
    get = run.trained_setting
    facts = [
        (
            "Network",
            _join(
                ", ",
                get("model.encoder"),
                _with("width", get("model.width")),
                _with("layers", get("model.layers")),
                _with("rank", get("model.rank")),
            ),
        ),
        ("Precision", _join(" / ", get("precision.params"), get("precision.compute"), get("precision.output"))),
        ("Loss matmul", _show(get("precision.loss_matmul"))),
        ("Batch", _show(get("train.batch_size"))),
        (
            "Epochs \N{MULTIPLICATION SIGN} steps",
            _join(" \N{MULTIPLICATION SIGN} ", get("train.epochs"), get("train.steps_per_epoch")),
        ),
        ("Learning rate", number(get("train.learning_rate")) if get("train.learning_rate") else ""),
        ("Blend β", _show(get("covariance.blend"))),
        ("Seed", _show(run.setting("run.seed"))),
    ]
    return [(name, value) for name, value in facts if value]


def _show(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_show, value))
    if isinstance(value, bool | str):
        return str(value).lower() if isinstance(value, bool) else value
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _interval(value: Any, unit: str = "") -> str:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return _show(value)
    low, high = (f"{entry:g}".replace("-", "\u2212") for entry in value)
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def _join(between: str, *values: Any, suffix: str = "") -> str:
    shown = [text for value in values if (text := _show(value))]
    return between.join(shown) + suffix if shown else ""


def _with(name: str, value: Any) -> str:
    return f"{name} {value}" if value is not None else ""
