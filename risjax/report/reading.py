"""Read a run directory for its report; missing or damaged files add a note instead of raising an exception.

Reports are also needed for runs that failed or that an older version wrote. The configuration is therefore read as
plain YAML, without validation against the current schema, and problems are collected in ``Run.notes``.
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from risjax.config.deprecated import current_array_name
from risjax.report.metrics_view import SourceMetrics, read_sources
from risjax.report.steps import StepTable, read_steps
from risjax.runs.environment import installed_environment
from risjax.runs.npz_io import DAMAGE
from risjax.runs.run_directory import RunDirectory

Note = Callable[[str], None]


@dataclass
class Run:
    """Content of a run directory.

    Attributes:
        path: the directory.
        config: the resolved configuration as plain dicts; empty if there is none.
        config_text: text of ``config.yaml``.
        steps: training steps, None if none was logged.
        epochs: training epochs, in order.
        dtypes: dtype of each prediction and label leaf, {"before": {...}, "after": {...}}.
        stages: {stage: time of completion}.
        stage_records: {stage: log record of its last run}.
        environment: versions and hardware.
        sources: evaluation results, one for each scene source.
        estimates: arrays of ``estimates.npz`` by key.
        trials: trials of the search.
        search: summary of the search.
        verify: the checklist of the stage ``verify``.
        audit: the result of the stage ``audit``.
        compare: the result of the stage ``compare``.
        limit: the result of the stage ``limit``.
        design: the result of the stage ``design``.
        ablation: the result of the stage ``ablate``.
        tune: the result of the stage ``tune``.
        notes: remarks on missing or unreadable data.
    """

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""
    steps: StepTable | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)
    dtypes: dict[str, dict[str, str]] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    stage_records: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    sources: list[SourceMetrics] = field(default_factory=list)
    estimates: dict[str, np.ndarray] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    search: dict[str, Any] = field(default_factory=dict)
    verify: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)
    compare: dict[str, Any] = field(default_factory=dict)
    limit: dict[str, Any] = field(default_factory=dict)
    design: dict[str, Any] = field(default_factory=dict)
    ablation: dict[str, Any] = field(default_factory=dict)
    tune: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def winner(self) -> dict[str, Any]:
        """{dotted path: value} of the best trial if a search ran before training; otherwise empty."""
        stages = self.setting("stages", [])
        if "search" not in stages or ("train" in stages and stages.index("train") < stages.index("search")):
            return {}
        best = next((trial for trial in self.trials if trial.get("is_best")), {})
        return best["params"] if isinstance(best.get("params"), dict) else {}

    def trained_setting(self, path: str, default: Any = None) -> Any:
        """Return a setting as used in training: the value of the best trial if the run searched first."""
        if path in self.winner:
            return self.winner[path]
        value = self.setting(path, default)
        inside = {name: new for name, new in self.winner.items() if name.startswith(path + ".")}
        if inside and isinstance(value, dict):
            value = copy.deepcopy(value)
            for name, new in inside.items():
                *parents, last = name.removeprefix(path + ".").split(".")
                node = value
                for parent in parents:
                    node = node.setdefault(parent, {})
                node[last] = new
        return value

    def setting(self, path: str, default: Any = None) -> Any:
        """Return a setting by its dotted path, or ``default`` if the configuration does not contain it."""
        node: Any = self.config
        for part in path.split("."):
            if not isinstance(node, Mapping) or part not in node:
                return default
            node = node[part]
        return node


def read_run(directory: RunDirectory) -> Run:
    """Read all data that a report shows."""
    run = Run(directory.path)
    note = run.notes.append
    run.config_text, run.config = _read_config(directory.config_path, note)
    log = _read_log(directory.log_path, note)
    run.steps = read_steps([record for record in log if record.get("kind") == "step"])
    run.epochs = _unique_epochs(log)
    run.dtypes = _last(log, "dtypes")
    run.stage_records = {str(record.get("stage")): record for record in log if record.get("kind") == "stage"}
    metrics = _read_json(directory.metrics_path, dict, note)
    run.sources = read_sources(metrics, note)
    run.environment = _environment(metrics, log)
    run.estimates = _read_arrays(directory.estimates_path, note)
    run.trials = [
        entry for entry in _read_json(directory.search / "trials.json", list, note) if isinstance(entry, dict)
    ]
    run.search = _read_json(directory.search / "summary.json", dict, note)
    run.verify = _read_json(directory.path / "verify.json", dict, note)
    run.audit = _read_json(directory.path / "audit.json", dict, note)
    run.compare = _read_json(directory.path / "compare.json", dict, note)
    run.limit = _read_json(directory.path / "limit.json", dict, note)
    run.tune = _read_json(directory.path / "tune.json", dict, note)
    run.design = _read_json(directory.path / "design.json", dict, note)
    run.ablation = _read_json(directory.path / "ablation.json", dict, note)
    done = _read_json(directory.path / "state.json", dict, note).get("done")
    run.stages = {str(stage): str(when) for stage, when in done.items()} if isinstance(done, dict) else {}
    return run


def _read_config(path: Path, note: Note) -> tuple[str, dict[str, Any]]:
    if not path.exists():
        note("config.yaml is missing; the settings of this run are unknown.")
        return "", {}
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        note(f"config.yaml is not valid YAML: {str(error).splitlines()[0]}")
        return text, {}
    return text, tree if isinstance(tree, dict) else {}


def _read_log(path: Path, note: Note) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    records, damaged = [], 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                damaged += 1
                continue
            if isinstance(record, dict):
                records.append(record)
    if damaged:
        note(f"log.jsonl: {damaged} {'line is' if damaged == 1 else 'lines are'} damaged and ignored.")
    return records


def _read_json(path: Path, kind: type, note: Note) -> Any:
    if not path.exists():
        return kind()
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except json.JSONDecodeError as error:
        note(f"{path.name} is damaged ({error.msg}, line {error.lineno}) and ignored.")
        return kind()
    if not isinstance(value, kind):
        note(f"{path.name} contains a {type(value).__name__}, expected a {kind.__name__}; it is ignored.")
        return kind()
    return value


def _read_arrays(path: Path, note: Note) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        # np.load does not close a damaged file, so the file is opened and closed here.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {current_array_name(name): file[name] for name in file.files}
    except DAMAGE as error:
        note(f"{path.name} is damaged ({error}) and ignored.")
        return {}


def _unique_epochs(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the epochs in order; the last record of an epoch that a resumed run repeated."""
    epochs = {record["epoch"]: record for record in log if record.get("kind") == "epoch" and "epoch" in record}
    return [epochs[number] for number in sorted(epochs)]


def _last(log: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    records = [record for record in log if record.get("kind") == kind]
    return {key: value for key, value in records[-1].items() if key != "kind"} if records else {}


def _environment(metrics: Mapping[str, Any], log: list[dict[str, Any]]) -> dict[str, str]:
    """Return the versions recorded by the run; if there are none, those installed now, marked as such."""
    recorded = metrics.get("environment") or _last(log, "environment")
    if isinstance(recorded, Mapping) and recorded:
        return {str(name): str(value) for name, value in recorded.items()}
    return installed_environment() | {"recorded": "when this report was written"}
