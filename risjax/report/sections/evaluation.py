"""The evaluation, one section a scene source: table, curves, examples, timing."""

from collections.abc import Iterator

from risjax.config.metric import lower_is_better
from risjax.report.blocks import Cell, Grid, Heading, Missing, Section, Text
from risjax.report.examples import example_scenes, matched_errors
from risjax.report.figures import coverage, error_cdf, metrics_along, seconds_per_scene, timing_bars
from risjax.report.methods import is_reference, told
from risjax.report.metrics_view import SourceMetrics
from risjax.report.reading import Run
from risjax.report.words import NOTHING, arrow, axis_name, bracket, capitalised, method_name, metric_name, number

_MAIN = ("f1_3d", "f1_angle", "gospa_m", "nmse", "k_accuracy")
_DETECTION = ("f1_3d", "f1_angle", "gospa_m")
_ERRORS = ("rmse_azimuth_deg", "rmse_elevation_deg", "rmse_range_m", "rmse_position_m")
_PARTS = ("recall_3d", "recall_angle", "precision_angle")
_SNR, _COUNT, _RANGE = ("snr_db", "snr"), ("k", "num_sources"), ("range_m", "range")


def evaluation_sections(run: Run) -> Iterator[Section]:
    """A section for each source; where nothing was evaluated, one that says so."""
    if not run.sources:
        yield Section("evaluation", "Evaluation").add(Missing("There is no metrics.json: nothing was evaluated."))
        return
    for source in run.sources:
        yield _source_section(run, source)


def _source_section(run: Run, source: SourceMetrics) -> Section:
    section = Section(f"evaluation-{source.name}", f"Evaluation: {source.name}")
    scenes = f"{source.scenes} scenes. " if source.scenes else ""
    told_methods = [
        f"{capitalised(method_name(method))} is told {told(method)}" for method in source.methods if told(method)
    ]
    section.add(Text(f"{scenes}Every method sees the same scenes. " + " ".join(f"{text}." for text in told_methods)))
    section.add(*(Missing(note) for note in source.notes))
    if not source.methods:
        return section.add(Missing("No method has a result."))
    section.add(_table(source, _main_metrics(source), "All scenes, with 95 % intervals; the best competitor in bold."))
    section.add(*_curves(source), *_distributions(run, source), coverage(source))
    examples = example_scenes(run, source.name)
    if examples:
        section.add(Heading("Example scenes"), *examples)
    else:
        section.add(Missing("No example scenes: estimates.npz holds none for this source."))
    section.add(*_timing(source))
    others = [metric for metric in source.metrics() if metric not in _main_metrics(source)]
    if others:
        section.add(Heading("All other metrics"), _table(source, others, "", transposed=True))
    return section


def _main_metrics(source: SourceMetrics) -> list[str]:
    present = source.metrics()
    return [metric for metric in _MAIN if metric in present] or present[:5]


def _table(source: SourceMetrics, metrics: list[str], caption: str, *, transposed: bool = False) -> Grid:
    methods = list(source.methods)
    cells = {metric: _column(source, methods, metric) for metric in metrics}
    if transposed:
        rows = [[metric_name(metric), *(cells[metric][method] for method in methods)] for metric in metrics]
        return Grid(("Metric", *map(method_name, methods)), rows, caption)
    columns = ("Method", *(f"{metric_name(metric)} {arrow(metric)}" for metric in metrics))
    return Grid(columns, [[method_name(m), *(cells[metric][m] for metric in metrics)] for m in methods], caption)


def _column(source: SourceMetrics, methods: list[str], metric: str) -> dict[str, Cell]:
    entries = {method: source.overall(method, metric) for method in methods}
    competing = {m: e.value for m, e in entries.items() if e is not None and not is_reference(m)}
    judged = metric in _MAIN and len(competing) > 1
    best = (min if lower_is_better(metric) else max)(competing.values()) if judged else None
    return {
        method: Cell(NOTHING)
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
            title="Detection against SNR",
            caption="Points stand at the middle of each slice; bands are 95 % intervals.",
        )
        yield metrics_along(
            source,
            snr,
            _ERRORS[:3],
            name="rmse_snr",
            title="Errors against SNR",
            caption="Root mean square errors over the sources that each method matched; the Cramér-Rao bound, where it "
            "was computed, over those of the method it is named after.",
        )
    if count:
        yield metrics_along(
            source,
            count,
            _DETECTION,
            name="sources",
            title="Detection against the number of sources",
            caption="K sources in the scene; only methods named so are told how many.",
        )
    if reach:
        yield metrics_along(
            source,
            reach,
            (*_PARTS, "rmse_range_m"),
            name="range",
            title="Detection by range",
            caption="Sources by their own range: how many of them are found, and how well.",
        )
    for axis in axes:
        if axis not in (snr, count, reach):
            title = f"Detection by {axis_name(axis).partition(' (')[0].lower()}"
            yield metrics_along(
                source, axis, _DETECTION, name=axis, title=title, caption="The same metrics, cut otherwise."
            )


def _distributions(run: Run, source: SourceMetrics) -> Iterator:
    errors, sources = matched_errors(run, source.name)
    yield error_cdf(errors, name=f"{source.name}_errors", sources=sources)


def _timing(source: SourceMetrics) -> Iterator:
    if not source.timing:
        yield Missing("No times were recorded.")
        return
    yield timing_bars(source)
    seconds = seconds_per_scene(source)
    rows = [
        [
            method_name(method),
            Cell(f"{number(1e3 * seconds[method])} ms" if method in seconds else NOTHING),
            Cell(f"{number(values['compile_s'])} s" if "compile_s" in values else NOTHING),
        ]
        for method, values in source.timing.items()
    ]
    yield Grid(("Method", "A scene", "Compilation, once"), rows)
