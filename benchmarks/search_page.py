"""Write docs/search.md from runs of wide.yaml: ``search_page.py RUN_DIRECTORY ... [--against NAME=DIRECTORY]``.

    python run.py --config wide.yaml                        # runs/wide
    python run.py --config wide.yaml weights=default 'stages=[evaluate]' run.directory=runs/default
    python benchmarks/search_page.py runs/wide --against wide=runs/default

The files of each run are first collected in ``search/<name of the directory>.json`` beside this file, so that the page
and its data are committed together; runs collected earlier stay on the page. ``--against`` compares the estimates of
``learned_ml`` of a run with those of another one on the same scenes, scene by scene.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from pages import rewrite

from risjax.config import ToleranceConfig
from risjax.experiments.evaluate import as_estimates, read_estimates
from risjax.experiments.search.search_tables import all_trials, make_tables
from risjax.metrics.bootstrap import difference, draw_ratios, scene_weights
from risjax.metrics.scoring import score
from risjax.runs.formatting import duration_text
from risjax.runs.run_directory import RunDirectory
from risjax.runs.text_tables import Row, interval_text, markdown_rows
from risjax.types import Estimates, Sources

STORED = Path(__file__).with_name("search")
METRICS = ("f1_3d", "f1_angle", "gospa_m")
METHOD = "learned_ml"
DRAWS = 2000


def collect(run: RunDirectory) -> dict[str, Any]:
    """Return what the page shows of a run: its search, the comparison of settings, evaluation, stages, versions."""
    metrics = run.read_json("metrics.json", {}).get("sources", {})
    return {
        "summary": run.read_json("search/summary.json"),
        "trials": run.read_json("search/trials.json"),
        "tune": run.read_json("tune.json", {}).get("tables", {}),
        "evaluation": {
            source: {method: found["overall"] for method, found in entry["methods"].items()}
            for source, entry in metrics.items()
        },
        "stages": {record["stage"]: record["seconds"] for record in run.read_log("stage")},
        "environment": next(run.read_log("environment"), {}),
    }


def compare_runs(run: RunDirectory, other: RunDirectory) -> dict[str, dict[str, Any]]:
    """Return the paired differences of `METRICS` of two runs' estimates on the same scenes, the first minus the other.

    Raises:
        SystemExit: the runs were evaluated on different scenes.
    """
    first, second = read_estimates(run), read_estimates(other)
    source = next(key.partition("/")[0] for key in first if key.endswith(f"/{METHOD}/active"))
    for field in Sources._fields:
        name = f"{source}/truth/{field}"
        if name not in second or not np.array_equal(first[name], second[name]):
            raise SystemExit(f"{run.path} and {other.path} were not evaluated on the same scenes ({name} differs)")
    truth = Sources(*(jnp.asarray(first[f"{source}/truth/{field}"]) for field in Sources._fields))
    weights = scene_weights(len(truth.active), DRAWS, seed=0)

    def drawn(stored: dict[str, np.ndarray]) -> dict[str, Any]:
        estimates = as_estimates({field: stored[f"{source}/{METHOD}/{field}"] for field in Estimates._fields})
        ratios = score(estimates, truth, ToleranceConfig()).ratios
        return draw_ratios({name: ratios[name] for name in METRICS}, weights)

    a, b = drawn(first), drawn(second)
    return {name: {"here": a[name].interval(), "difference": difference(a[name], b[name])} for name in METRICS}


def page(runs: dict[str, dict[str, Any]]) -> str:
    """Return the generated part of the page."""
    return "\n\n".join(f"### {name}\n\n{_section(found)}" for name, found in sorted(runs.items()))


def _section(found: dict[str, Any]) -> str:
    summary, trials = found["summary"], found["trials"]
    times = ", ".join(f"{stage} {duration_text(seconds)}" for stage, seconds in found["stages"].items())
    versions = ", ".join(f"{name} {found['environment'].get(name)}" for name in ("python", "jax", "optuna"))
    parts = [f"Times: {times}. {found['environment'].get('processor', 'Unknown processor')}; {versions}."]
    parts += [_table(title, rows) for title, rows in make_tables(summary, trials).items()]
    parts += [_table(title, rows) for title, rows in found["tune"].items()]
    for source, methods in found["evaluation"].items():
        rows = [
            {"method": method, **{name: interval_text(figures.get(name)) for name in METRICS}}
            for method, figures in methods.items()
        ]
        parts.append(_table(f"Evaluation, {source}", rows))
    for other, figures in found.get("against", {}).items():
        rows = [
            {"metric": name, "this run": interval_text(both["here"]), "minus": interval_text(both["difference"], "+")}
            for name, both in figures.items()
        ]
        parts.append(_table(f"{METHOD} minus that of {other} on the same scenes, paired", rows))
    trials_table = "\n".join(markdown_rows(all_trials(trials, summary["metric"])))
    return "\n\n".join([*parts, f"<details markdown><summary>All trials</summary>\n\n{trials_table}\n\n</details>"])


def _table(title: str, rows: list[Row]) -> str:
    return "\n".join([f"**{title}**", "", *markdown_rows(rows)])


def main() -> None:
    """Collect the runs, then rewrite the page from all that are stored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--against", action="append", default=[], metavar="NAME=DIRECTORY")
    arguments = parser.parse_args()
    others = dict(entry.split("=", 1) for entry in arguments.against)
    STORED.mkdir(exist_ok=True)
    for path in arguments.runs:
        found = collect(RunDirectory(path))
        if path.name in others:
            other = RunDirectory(others[path.name])
            found["against"] = {other.path.name: compare_runs(RunDirectory(path), other)}
        (STORED / f"{path.name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    stored = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in STORED.glob("*.json")}
    if not stored:
        raise SystemExit("no run was named, and none is stored; see --help")
    rewrite("search.md", {"search": page(stored)})


if __name__ == "__main__":
    main()
