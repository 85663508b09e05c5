"""The checklist at the end of ``verify.yaml``: properties of a short run that every long run needs.

Each line is a check with its value, ✓ or ✗, computed from the files of the run. The original pipeline printed
``Loss is finite: 3.843`` together with ``backbone=nan``; it lacked these checks.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from risjax.config.root import Config
from risjax.runs.formatting import value_text
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal

FULL_PRECISION = frozenset({"float32", "float64", "complex64", "complex128"})
"""Allowed dtypes of floating-point and complex leaves after the upcast at the loss's entry."""

_EXACT = ("int", "uint", "bool", "key")
"""Prefixes of the dtypes that the upcast does not change."""


@dataclass(frozen=True)
class Check:
    """One line of the checklist."""

    name: str
    passed: bool
    found: str


def verify(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    """Print the checklist and the table of dtypes, write ``verify.json``, and return whether all checks passed."""
    checks = run_checks(config, directory)
    rows = dtype_rows(directory)
    terminal.table("dtypes of predictions and labels before and after the upcast", rows, always=True)
    for check in checks:
        terminal.say(f"{'✓' if check.passed else '✗'} {check.name}: {check.found}", always=True)
    directory.write_json("verify.json", {"checks": [asdict(check) for check in checks], "dtypes": rows})
    return all(check.passed for check in checks)


def run_checks(config: Config, directory: RunDirectory) -> list[Check]:
    """Return the checklist of a run, in order."""
    steps, epochs = list(directory.read_log("step")), list(directory.read_log("epoch"))
    checks = [*_step_checks(config, steps), *_epoch_checks(config, epochs)]
    if "search" in config.stages:
        checks.append(_search_check(config, directory.read_json("search/trials.json", [])))
    checks.append(_dtype_check(dtype_rows(directory)))
    return checks


def dtype_rows(directory: RunDirectory) -> list[dict[str, str]]:
    """Return the dtype of every prediction and label leaf before and after the upcast, from the log."""
    record = next(reversed(list(directory.read_log("dtypes"))), {})
    before, after = record.get("before", {}), record.get("after", {})
    rows = {leaf: _after_upcast(leaf, after) for leaf in before}
    left = [leaf for leaf in after if leaf not in rows.values()]
    return [
        *({"leaf": leaf, "before": dtype, "after": after.get(rows[leaf] or "", "-")} for leaf, dtype in before.items()),
        *({"leaf": leaf, "before": "-", "after": after[leaf]} for leaf in left),
    ]


def _after_upcast(leaf: str, after: Mapping[str, str]) -> str | None:
    """Return the leaf after the upcast: the same one, or the complex one that contains its real or imaginary part."""
    return next((name for name in (leaf, leaf.rpartition(".")[0]) if name in after), None)


def _step_checks(config: Config, steps: list[dict[str, Any]]) -> Iterator[Check]:
    expected = config.train.epochs * config.train.steps_per_epoch
    losses = [step["loss"] for step in steps]
    value = value_text(losses[-1]) if losses else "no step in the log"
    bad = [step["step"] for step in steps if not _finite(step["loss"])]
    yield Check("loss finite", bool(steps) and not bad, value + _at(bad))
    for part in ("backbone", "head"):
        norms = [step[f"grad_norm_{part}"] for step in steps]
        bad = [step["step"] for step in steps if not _finite(step[f"grad_norm_{part}"])]
        value = f"{min(norms):.3g} ... {max(norms):.3g}" if norms and not bad else "none" if not norms else "not finite"
        yield Check(f"gradient norm of the {part} finite", bool(steps) and not bad, value + _at(bad))
    bad = [step["step"] for step in steps if not step["finite"]]
    ok = len(steps) - len(bad)
    yield Check("every step ok", ok == expected, f"{ok} of {expected}" + _at(bad))


def _epoch_checks(config: Config, epochs: list[dict[str, Any]]) -> Iterator[Check]:
    if not epochs:
        yield Check("an epoch finished", False, "none in the log")
        return
    last = epochs[-1]
    skipped, applied, count = last["skipped_steps"], last["applied_updates"], last["schedule_count"]
    yield Check("no non-finite step", skipped == 0, f"{skipped} skipped")
    yield Check("schedule's count equals applied updates", count == applied > 0, f"{count} and {applied}")
    metric = config.train.best_metric
    best = epochs[min(last["best_epoch"], len(epochs)) - 1]["validation"]
    for name in dict.fromkeys(("nmse", metric)):
        yield Check(f"best validation {name} finite", _finite(best.get(name)), value_text(best.get(name)))


def _search_check(config: Config, trials: list[dict[str, Any]]) -> Check:
    """Check that the best value is finite and that its trial reported it after an epoch: not an invented penalty."""
    name = f"best search {config.search.metric} finite and really evaluated"
    best = next((trial for trial in trials if trial["is_best"]), None)
    if best is None:
        return Check(name, False, f"no complete trial among {len(trials)}")
    reported = best["intermediate"].values()
    evaluated = best["state"] == "complete" and best["value"] in reported
    found = f"{value_text(best['value'])}, trial {best['number']} of {len(trials)}, {len(reported)} epochs reported"
    return Check(name, evaluated and _finite(best["value"]), found)


def _dtype_check(rows: list[dict[str, str]]) -> Check:
    name = "predictions and labels in full precision after the upcast"
    narrow = [row["leaf"] for row in rows if not _is_full(row["after"])]
    found = f"{len(rows) - len(narrow)} of {len(rows)} leaves"
    return Check(name, bool(rows) and not narrow, found + (f"; narrower: {', '.join(narrow)}" if narrow else ""))


def _is_full(dtype: str) -> bool:
    return dtype in FULL_PRECISION or dtype.startswith(_EXACT)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _at(steps: list[int]) -> str:
    return f", not at step {', '.join(map(str, steps[:3]))}{', ...' if len(steps) > 3 else ''}" if steps else ""
