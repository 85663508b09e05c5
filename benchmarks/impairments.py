"""F1 against the strength of each impairment, unknown to the receiver: learned networks against greedy ML.

    python run.py --config randomised.yaml                                        # the network with randomisation
    python benchmarks/impairments.py released=original randomised=runs/randomised # half an hour on a quiet core

Every NAME=WEIGHTS is a released network, a folder of the stage `release` or a run directory. All of them and greedy
maximum likelihood localise the same fresh scenes of the first network's physics, impaired in one way at a time; all
believe the nominal surface. The scenes of one number differ in the impairment alone, whatever its strength
(`risjax.physics.impairments`), so the curves are smooth and the differences paired. Estimates are kept in the folder
--work, so that an interrupted measurement can resume. Writes impairments.json, impairments.png and impairments.csv
beside this file, and the tables of docs/impairments.md. `--page` rewrites these from the JSON alone.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure
from pages import rewrite

from risjax.config import Config, ImpairmentsConfig, SourceConfig
from risjax.config.io import apply_overrides
from risjax.config.weights import find_weights, no_weights_text
from risjax.experiments.evaluate import Compiled, as_estimates, load_scenes, read_estimates, run_methods
from risjax.inference.release import load_params
from risjax.inference.release.load import trained_config
from risjax.metrics.summary import summarise
from risjax.report.drawing import Drawing
from risjax.report.style import series_style, tidy
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.runs.text_tables import interval_text, markdown_rows

HERE = Path(__file__)
GREEDY = "greedy_ml"
METRICS = ("f1_3d", "f1_angle", "gospa_m")
TITLES = {"f1_3d": "F1 in 3-D", "f1_angle": "F1 in angle", "gospa_m": "GOSPA, m"}


class Curve(NamedTuple):
    """One impairment.

    Attributes:
        strengths: from weak to strong; the end where it is absent is common to all curves.
        label: of the axis.
        real: the strength of real hardware, None where no source was found.
        source: of that.
    """

    strengths: tuple[float, ...]
    label: str
    real: float | None = None
    source: str = ""


CURVES = {
    "position_jitter": Curve(
        (0.02, 0.05, 0.1, 0.2),
        "element position, ± of the spacing",
        0.05,
        "what the original pipeline's generator assumes (its scenes in data/original)",
    ),
    "wavelength_error": Curve((0.002, 0.005, 0.01, 0.02), "wavelength, ± relative"),
    "spacing_error": Curve((0.002, 0.005, 0.01, 0.02), "spacing, ± relative"),
    "phase_error_deg": Curve(
        (5.0, 10.0, 20.0, 30.0),
        "phase offset of an element, deg",
        10.0,
        "phase states of 0° and 180° ± 20° in a 1-bit surface that was built (arXiv:2604.04625), 11.5° rms if "
        "uniform; 10° rms in the error budget of the reference Solar Power Satellite (Space Solar Power Review 3, "
        "1982); "
        "manufacturing spread of phase shifters of ±5 to 10° before calibration (rfessentials.com, phased-array "
        "calibration)",
    ),
    "amplitude_error_db": Curve(
        (0.5, 1.0, 2.0, 3.0),
        "amplitude of an element, dB",
        0.5,
        "manufacturing spread of ±0.5 dB before calibration (rfessentials.com, phased-array calibration)",
    ),
    "dead_elements": Curve(
        (0.02, 0.05, 0.1, 0.2),
        "share of dead elements",
        0.02,
        "2 % of the power tubes failed, in the budget of the same reference Solar Power Satellite",
    ),
    "coupling_min_amplitude": Curve((0.8, 0.6, 0.4, 0.2), "least amplitude over phase"),
    "channel_error_db": Curve((-30.0, -20.0, -15.0, -10.0), "channel error, dB"),
    "clutter_db": Curve((-30.0, -20.0, -15.0, -10.0), "clutter, dB"),
}


class Network(NamedTuple):
    """A trained network under the name that tables call it."""

    name: str
    config: Config
    params: Any
    compiled: Compiled


def load_network(text: str) -> Network:
    """``NAME=WEIGHTS``, its configuration evaluating the whole pipeline alone."""
    name, equals, weights = text.partition("=")
    found = find_weights(weights)
    if not equals or found is None:
        raise SystemExit(f"{text}: expected NAME=WEIGHTS; {no_weights_text(weights)}")
    settings = {"stages": ["evaluate"], "weights": weights, "run.seed": 0, "evaluate.methods": ["learned_ml"]}
    config = apply_overrides(trained_config(found), settings)
    return Network(name, config, load_params(config, None), {})


def conditions(names: list[str]) -> Iterator[tuple[str, float | None]]:
    """(impairment, strength), the surface without any first."""
    yield "none", None
    for name in names:
        yield from ((name, strength) for strength in CURVES[name].strengths)


def measure(networks: list[Network], names: list[str], scenes: int, work: Path) -> dict[str, Any]:
    """Every method on every condition, with intervals and paired differences."""
    first = networks[0].config
    nominal = first.physics.model_copy(update={"impairments": ImpairmentsConfig()})
    greedy = Network(GREEDY, apply_overrides(first, {"evaluate.methods": [GREEDY]}), None, {})
    methods = [*networks, greedy]
    terminal, found = Terminal(), []
    todo = list(conditions(names))
    directories = {method.name: RunDirectory(work / method.name) for method in methods}
    stored = {name: read_estimates(directory) for name, directory in directories.items()}
    with terminal.progress("impairments", len(todo) * len(methods) * scenes) as bar:
        for name, strength in todo:
            change: dict[str, Any] = {} if strength is None else {name: strength}
            physics = nominal.model_copy(update={"impairments": ImpairmentsConfig(**change)})
            key = name if strength is None else f"{name}_{strength:g}"
            drawn = load_scenes(first, SourceConfig(name="scenes", physics=physics, scenes=scenes))
            drawn = drawn._replace(physics=nominal)  # the model that the receiver assumes
            estimates = {}
            for method in methods:
                fields, _ = run_methods(
                    method.config, drawn, key, method.params, stored[method.name], method.compiled,
                    directories[method.name], bar,
                )  # fmt: skip
                estimates[method.name] = as_estimates(next(iter(fields.values())))
            summary = summarise(estimates, drawn.sources, first.evaluate.tolerance, draws=1000)
            found.append({"impairment": name, "strength": strength, **_kept(summary)})
    versions = {"jax": jax.__version__, "device": jax.devices()[0].device_kind}
    return {"scenes": scenes, "methods": [method.name for method in methods], "conditions": found, **versions}


def _kept(summary: dict[str, Any]) -> dict[str, Any]:
    def ends(figure: dict[str, Any]) -> dict[str, Any]:
        return {end: figure[end] for end in ("value", "low", "high")}

    return {
        part: {name: {m: ends(entry["overall"][m]) for m in METRICS} for name, entry in summary[part].items()}
        for part in ("methods", "pairs")
    }


def table(result: dict[str, Any], metric: str) -> list[dict[str, str]]:
    """Return one row for each condition: every method, and the learned ones minus greedy."""
    rows = []
    learned = [name for name in result["methods"] if name != GREEDY]
    for entry in result["conditions"]:
        name, strength = entry["impairment"], entry["strength"]
        curve = CURVES.get(name)
        is_real = curve is not None and strength == curve.real
        row = {
            "impairment": "none" if curve is None else curve.label,
            "strength": "" if strength is None else f"{strength:g}{' (real hardware)' if is_real else ''}",
        }
        row |= {method: interval_text(entry["methods"][method][metric]) for method in result["methods"]}
        pairs = entry["pairs"]
        row |= {f"{m} - greedy": interval_text(pairs[f"{m}_minus_{GREEDY}"][metric], "+") for m in learned}
        rows.append(row)
    return rows


def drawing(result: dict[str, Any]) -> Drawing:
    """Plot F1 in 3-D and in angle against the strength, one panel for each impairment."""
    none = next(entry for entry in result["conditions"] if entry["impairment"] == "none")
    rows = []
    for name in dict.fromkeys(e["impairment"] for e in result["conditions"] if e is not none):
        strengths = [entry for entry in result["conditions"] if entry["impairment"] == name]
        for step, entry in enumerate([none, *strengths]):
            for method in result["methods"]:
                for metric in METRICS[:2]:
                    figure = entry["methods"][method][metric]
                    ends = (figure["value"], figure["low"], figure["high"])
                    rows.append((name, step, entry["strength"], method, metric, *ends))
    columns = ("impairment", "step", "strength", "method", "metric", "value", "low", "high")
    data = {column: [row[index] for row in rows] for index, column in enumerate(columns)}
    names = list(dict.fromkeys(data["impairment"]))
    values = {column: np.array(data[column], object) for column in columns}

    def paint(figure: Figure) -> None:
        panels = figure.subplots(-(-len(names) // 3), 3, squeeze=False, sharey=True).ravel()
        for axes, name in zip(panels, names, strict=False):
            for index, method in enumerate(result["methods"]):
                for metric, style in zip(METRICS[:2], ("-", "--"), strict=True):
                    of_panel = (values["impairment"] == name) & (values["metric"] == metric)
                    chosen = of_panel & (values["method"] == method)
                    x, value, low, high = (values[c][chosen].astype(float) for c in ("step", "value", "low", "high"))
                    series = series_style(index)
                    label = f"{method}, {'3-D' if style == '-' else 'angle'}"
                    axes.plot(x, value, color=series.color, marker=series.marker, linestyle=style, label=label)
                    axes.fill_between(x, low, high, color=series.color, alpha=0.15, linewidth=0)
            curve = CURVES[name]
            axes.set_xticks(range(1 + len(curve.strengths)), ["none", *map("{:g}".format, curve.strengths)])
            axes.set_title(curve.label, fontsize=8)
            tidy(axes)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        panels[0].set_ylabel("F1")
        panels[0].legend(fontsize=7, handlelength=4)

    caption = "F1 with its 95 % interval against the strength of each impairment, on the same scenes."
    height = 0.6 + 2.4 * -(-len(names) // 3)
    return Drawing("impairments", "Impairments", caption, data, paint, height_in=height)


def write(result: dict[str, Any]) -> None:
    """Figure, numbers and the page's tables."""
    drawing(result).save(HERE.parent)
    text = [f"{result['scenes']} scenes; value [95 % interval]; differences paired on the same scenes."]
    for metric in METRICS:
        text += ["", f"**{TITLES[metric]}**", "", *markdown_rows(table(result, metric))]
    real = {curve.label: f"{curve.real:g}: {curve.source}" for curve in CURVES.values() if curve.real is not None}
    sources = "\n".join(f"* {label}, {text}." for label, text in real.items())
    rewrite("impairments.md", {"impairments": "\n".join(text), "hardware": sources})


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NAME=WEIGHTS", default=["released=original"])
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--impairments", nargs="+", choices=CURVES, default=list(CURVES))
    parser.add_argument("--work", type=Path, default=Path("runs/impairments"), help="where estimates are kept")
    parser.add_argument("--page", action="store_true", help="only rewrite figure and page from the JSON")
    arguments = parser.parse_args()
    path = HERE.with_suffix(".json")
    if not arguments.page:
        networks = [load_network(text) for text in arguments.networks]
        result = measure(networks, arguments.impairments, arguments.scenes, arguments.work)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    write(json.loads(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
