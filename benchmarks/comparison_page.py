"""Write the tables of docs/comparison.md from JSON: ``comparison_page.py [RUN_DIRECTORY [--no-trainings]]``.

    python run.py --config compare.yaml             # runs/compare/compare.json
    python benchmarks/training_step.py              # benchmarks/training_step.json
    python benchmarks/comparison_page.py runs/compare

Given a run directory, its compare.json is copied beside this file first (without the losses and times of single
steps, which stay in the run), so that the page and its data are committed together. Only the text between
``<!-- begin NAME -->`` and ``<!-- end NAME -->`` is rewritten. ``--no-trainings`` omits the trainings, for a machine
whose load makes their times unreliable.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pages import rewrite

from risjax.experiments.compare.comparison_tables import markdown
from risjax.runs.text_tables import markdown_rows

HERE = Path(__file__).parent
PAGE = "comparison.md"
COMPARE, STEP = HERE / "compare.json", HERE / "training_step.json"
PER_STEP = ("losses", "grad_norms", "seconds")


def copy_result(source: Path, *, trainings: bool) -> None:
    """Return compare.json of a run without the entries of single steps."""
    result = json.loads((source / "compare.json").read_text())
    if not trainings:
        result["runs"] = {}
    result.pop("tables", None)
    for run in result["runs"].values():
        if "unsupported" in run:
            continue
        pairs = zip(run["risjax"]["losses"], run["pytorch"]["losses"], strict=True)
        run["largest_loss_difference"] = max((abs(a - b) for a, b in pairs if None not in (a, b)), default=None)
        for name in ("risjax", "pytorch"):
            for field in PER_STEP:
                del run[name][field]
    COMPARE.write_text(json.dumps(result, separators=(",", ":")) + "\n")


def step_rows(result: dict[str, Any]) -> list[dict[str, str]]:
    """training_step.json as a table."""
    rows = []
    for case in result["cases"]:
        row = {"case": case["case"], "compute": case["compute"], "batch": str(case["batch_size"])}
        if "error" in case:
            rows.append({**row, "cores": "", "risjax, s": case["error"]})
            continue
        rows.append(
            {
                **row,
                "cores": str(case["cores"]),
                "risjax, s": f"{case['risjax']['step_seconds']:.3f}",
                "PyTorch, s": f"{case['pytorch']['step_seconds']:.3f}",
                "ratio": f"{case['ratio']:.2f}",
                "ratio, PyTorch's inputs made ahead": f"{case['ratio_inputs_ahead']:.2f}",
                "compiled": "yes" if case["compiled"] else "no",
                "load average": f"{case['load_average']:.1f}",
            }
        )
    return rows


def part_rows(result: dict[str, Any]) -> list[dict[str, str]]:
    """Return the table of the time of each part of a step."""
    return [
        {"case": case["case"], "compute": case["compute"], "framework": name}
        | {f"{part}, s": f"{seconds:.4f}" for part, seconds in case["parts"][name].items()}
        for case in result["cases"]
        if "parts" in case
        for name in ("risjax", "pytorch")
    ]


def blocks() -> dict[str, str]:
    """Return the text for each pair of marks."""
    found = {}
    if COMPARE.exists():
        found["compare"] = markdown(json.loads(COMPARE.read_text())).rstrip()
    if STEP.exists():
        result = json.loads(STEP.read_text())
        versions = result["versions"]
        head = (
            f"{versions['processor']}; jax {versions['jax']} on {versions['jax_device']}, PyTorch {versions['torch']} "
            f"with {versions['threads']} threads."
        )
        tables = (step_rows(result), part_rows(result))
        found["step"] = "\n\n".join([head, *("\n".join(markdown_rows(rows)) for rows in tables if rows)])
    return found


def main() -> None:
    """Copy the results, then rewrite the page."""
    if len(sys.argv) > 1:
        copy_result(Path(sys.argv[1]), trainings="--no-trainings" not in sys.argv)
    rewrite(PAGE, blocks())


if __name__ == "__main__":
    main()
