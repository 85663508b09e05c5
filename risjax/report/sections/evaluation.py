"""Evaluation, one section for each scene source: tables, curves, example scenes, run times."""

from collections.abc import Iterator

from risjax.config.metric import lower_is_better
from risjax.report.blocks import Cell, Heading, Notice, ReportSection, TableBlock, Text
from risjax.report.display_names import (
    NO_VALUE,
    arrow,
    axis_name,
    bracket,
    capitalised,
    method_name,
    metric_name,
    number,
)
from risjax.report.examples import example_scenes, matched_errors
from risjax.report.figures import coverage, error_cdf, metrics_along, seconds_per_scene, timing_bars
from risjax.report.method_properties import is_reference, known_truth
from risjax.report.metrics_view import SourceMetrics
from risjax.report.reading import Run

_MAIN = ("f1_3d", "f1_angle", "gospa_m", "nmse", "k_accuracy")
_DETECTION = ("f1_3d", "f1_angle", "gospa_m")
_ERRORS = ("rmse_azimuth_deg", "rmse_elevation_deg", "rmse_range_m", "rmse_position_m")
_PARTS = ("recall_3d", "recall_angle", "precision_angle")
_SNR, _COUNT, _RANGE = ("snr_db", "snr"), ("k", "num_sources"), ("range_m", "range")


def evaluation_sections(run: Run) -> Iterator[ReportSection]:
    """Yield a section for each source, or a notice if nothing was evaluated."""
    if not run.sources:
        yield ReportSection("evaluation", "Evaluation").add(Notice("No evaluation was run: metrics.json is missing."))
        return
    for source in run.sources:
        yield _source_section(run, source)


def _source_section(run: Run, source: SourceMetrics) -> ReportSection:
    section = ReportSection(f"evaluation-{source.name}", f"Evaluation: {source.name}")
    scenes = f"{source.scenes} scenes. " if source.scenes else ""
    informed_methods = [
        f"{capitalised(method_name(method))} is given {known_truth(method)}"
        for method in source.methods
        if known_truth(method)
    ]
    section.add(
        Text(
            f"{scenes}All methods are evaluated on the same scenes. "
            + " ".join(f"{text}." for text in informed_methods)
        )
    )
    section.add(*(Notice(note) for note in source.notes))
    if not source.methods:
        return section.add(Notice("No method has results."))
    section.add(_table(source, _main_metrics(source), "All scenes, with 95 % intervals; best blind method in bold."))
    section.add(*_curves(source), *_distributions(run, source), coverage(source))
    examples = example_scenes(run, source.name)
    if examples:
        section.add(Heading("Example scenes"), *examples)
    else:
        section.add(Notice("No example scenes: estimates.npz contains none for this source."))
    section.add(*_timing(source))
    others = [metric for metric in source.metrics() if metric not in _main_metrics(source)]
    if others:
        section.add(Heading("Further metrics"), _table(source, others, "", transposed=True))
    return section


def _main_metrics(source: SourceMetrics) -> list[str]:
    present = source.metrics()
    return [metric for metric in _MAIN if metric in present] or present[:5]


def _table(source: SourceMetrics, metrics: list[str], caption: str, *, transposed: bool = False) -> TableBlock:
    methods = list(source.methods)
    cells = {metric: _column(source, methods, metric) for metric in metrics}
    if transposed:
        rows = [[metric_name(metric), *(cells[metric][method] for method in methods)] for metric in metrics]
        return TableBlock(("Metric", *map(method_name, methods)), rows, caption)
    columns = ("Method", *(f"{metric_name(metric)} {arrow(metric)}" for metric in metrics))
    return TableBlock(columns, [[method_name(m), *(cells[metric][m] for metric in metrics)] for m in methods], caption)


def _column(source: SourceMetrics, methods: list[str], metric: str) -> dict[str, Cell]:
    entries = {method: source.overall(method, metric) for method in methods}
    competing = {m: e.value for m, e in entries.items() if e is not None and not is_reference(m)}
    judged = metric in _MAIN and len(competing) > 1
    best = (min if lower_is_better(metric) else max)(competing.values()) if judged else None
    return {
        method: Cell(NO_VALUE)
        if entry is None
        else Cell(number(entry.value), bracket(entry), strong=judged and competing.get(method) == best)
        for method, entry in entries.items()
    }


def _curves(source: SourceMetrics) -> Iterator:
    axes = source.axes()
    snr, count, reach = (next((a for a in names if a in axes), None) for names in (_SNR, _COUNT, _RANGE))
    if snr:
        yield metrics_along(
            source,
            snr,
            _DETECTION,
            name="snr",
            title="Detection by SNR",
            caption="Each point is at the centre of its SNR interval; bands are 95 % confidence intervals.",
        )
        yield metrics_along(
            source,
            snr,
            _ERRORS[:3],
            name="rmse_snr",
            title="Errors by SNR",
            caption="Root mean square errors over the sources matched by each method. The Cramér-Rao bound, if it was "
            "computed, is over the sources matched by the method named in the legend.",
        )
    if count:
        yield metrics_along(
            source,
            count,
            _DETECTION,
            name="sources",
            title="Detection by number of sources",
            caption="K is the number of sources in the scene; only reference methods are given K.",
        )
    if reach:
        yield metrics_along(
            source,
            reach,
            (*_PARTS, "rmse_range_m"),
            name="range",
            title="Detection by range",
            caption="Recall, precision and range error of the sources in each range interval.",
        )
    for axis in axes:
        if axis not in (snr, count, reach):
            name = axis_name(axis).partition(" (")[0].lower()
            title = f"Detection by {name}"
            yield metrics_along(
                source, axis, _DETECTION, name=axis, title=title, caption=f"Detection metrics by {name}."
            )


def _distributions(run: Run, source: SourceMetrics) -> Iterator:
    errors, sources = matched_errors(run, source.name)
    yield error_cdf(errors, name=f"{source.name}_errors", sources=sources)


def _timing(source: SourceMetrics) -> Iterator:
    if not source.timing:
        yield Notice("No run times were recorded.")
        return
    yield timing_bars(source)
    seconds = seconds_per_scene(source)
    rows = [
        [
            method_name(method),
            Cell(f"{number(1e3 * seconds[method])} ms" if method in seconds else NO_VALUE),
            Cell(f"{number(values['compile_s'])} s" if "compile_s" in values else NO_VALUE),
        ]
        for method, values in source.timing.items()
    ]
    yield TableBlock(("Method", "Time per scene", "Compilation time"), rows)
