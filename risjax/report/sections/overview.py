"""The verdict, and what was run."""

from collections.abc import Iterator
from typing import Any

from risjax.report.blocks import Cell, Details, Facts, Grid, Missing, Section, Text, Verdicts
from risjax.report.figures import paired_differences
from risjax.report.reading import Run
from risjax.report.verdict import verdicts
from risjax.report.words import NOTHING, number
from risjax.runs.words import duration_text


def verdict_section(run: Run) -> Iterator[Section]:
    """One sentence a baseline and source, and the paired differences behind it."""
    section = Section("verdict", "Verdict")
    if not run.sources:
        section.add(Missing("Nothing was evaluated, so there is no verdict. The stage `evaluate` makes metrics.json."))
        yield section
        return
    for source in run.sources:
        found = verdicts(source)
        if found:
            section.add(Verdicts(found))
            section.add(paired_differences(source, [_stored(source.pairs, v.method, v.baseline) for v in found]))
        else:
            section.add(Missing(f"On {source.name} no two methods were paired: there is no verdict."))
    section.add(
        Text(
            "Intervals are 95 % bootstrap intervals over scenes. A method is called better or worse where the interval "
            "of the difference on the same scenes excludes zero in at least one judged metric (F1 in 3-D and in angle, "
            "GOSPA), and in none the other way."
        )
    )
    yield section


def run_section(run: Run) -> Iterator[Section]:
    """Stages, settings, versions, and everything that was amiss."""
    section = Section("run", "What was run")
    section.add(*(Missing(note) for note in run.notes))
    section.add(_stages(run))
    section.add(Facts("Scenes", _physics(run)), Facts("Learning", _learning(run)))
    if run.winner:
        rows = [[path, _show(run.setting(path)), _show(value)] for path, value in run.winner.items()]
        section.add(
            Grid(("Setting", "Configured", "Trained with"), rows, "What the search changed: the best trial's values.")
        )
    recorded = run.environment.get("recorded")
    title = "Versions and machine" + (" (as of this report; the run recorded none)" if recorded else "")
    section.add(Facts(title, [(name, value) for name, value in run.environment.items() if name != "recorded"]))
    if run.config_text:
        section.add(Details("The complete configuration (config.yaml)", run.config_text))
    yield section


def _stored(pairs: dict, a: str, b: str) -> tuple[str, str]:
    return (a, b) if (a, b) in pairs else (b, a)


def _stages(run: Run) -> Grid | Missing:
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
                Cell(duration_text(seconds) if isinstance(seconds, int | float) else NOTHING),
                Cell(f"{peak / 2**20:,.0f} MiB" if isinstance(peak, int | float) else NOTHING),
                Cell(run.stages.get(stage, NOTHING).replace("T", " ")[:16]),
            ]
        )
    if not rows:
        return Missing("Which stages ran is not known.")
    columns = ("Stage", "State", "Time taken", "Peak memory so far", "Finished")
    return Grid(columns, rows, "Memory is the main process's, without an accelerator's.")


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
