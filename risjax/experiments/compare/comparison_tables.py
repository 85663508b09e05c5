"""``compare.json`` as tables: for the terminal, for ``compare.md``, for the documentation."""

from typing import Any

from risjax.experiments.compare.nan_map import counts
from risjax.runs.text_tables import Row, interval_text, markdown_rows


def make_tables(result: dict[str, Any]) -> dict[str, list[Row]]:
    """All tables that have rows, by title."""
    tables = {
        "Training, steps in turns": steps_table(result),
        "Held-out scenes, value [95 % interval]": metrics_table(result),
        "The failure in PyTorch, and its repair": failures_table(result),
        "The NaN map, predictions and labels in full precision": nan_table(result),
    }
    return {title: rows for title, rows in tables.items() if rows}


def steps_table(result: dict[str, Any]) -> list[Row]:
    """Time, memory and health of each training."""
    rows = []
    for compute, run in result["runs"].items():
        if "unsupported" in run:
            rows.append({"compute": compute, "framework": "both", "s a step": f"left out: {run['unsupported']}"})
            continue
        for name in ("risjax", "pytorch"):
            entry = run[name]
            memory = entry.get("memory") or {}
            rows.append(
                {
                    "compute": compute,
                    "framework": name,
                    "s a step": f"{entry['step_seconds']:.4f}",
                    "quartiles": " to ".join(f"{value:.4f}" for value in entry["quartiles"]),
                    "scenes/s": f"{entry['scenes_per_second']:.0f}",
                    "speed, risjax = 1": f"{run['risjax']['step_seconds'] / entry['step_seconds']:.2f}",
                    "compilation, s": f"{entry['compilation_seconds']:.1f}",
                    "peak memory, MiB": _mebibytes(memory.get("net_bytes")),
                    "skipped": str(entry["skipped"]),
                    "NaN": str(entry["nan_steps"]),
                    "last loss": f"{entry['final_loss']:.4f}",
                }
            )
    return _aligned(rows)


def metrics_table(result: dict[str, Any]) -> list[Row]:
    """Final metrics of both networks and their paired difference."""
    rows = []
    for compute, run in result["runs"].items():
        final = run.get("final")
        if not final:
            continue
        parts = {**final["networks"], "risjax minus pytorch": final["difference"]}
        for name, metrics in parts.items():
            rows.append({"compute": compute, "network": name} | {key: interval_text(v) for key, v in metrics.items()})
    return _aligned(rows)


def failures_table(result: dict[str, Any]) -> list[Row]:
    """The reproduced failure and its repair."""
    return [
        {
            "PyTorch, float16": record["name"],
            "cast": record["cast"],
            "gradient rule": record["rule"],
            "loading": f"{record['loading']:g}",
            "loss": "-" if record["loss"] is None else f"{record['loss']:.3f}",
            "gradient": f"raises: {record['raises']}"
            if record["raises"]
            else f"NaN in {record['nan_steps']} of {record['steps']} steps",
        }
        for record in result.get("failures") or []
    ]


def nan_table(result: dict[str, Any]) -> list[Row]:
    """Outcomes of the NaN map with predictions and labels in full precision."""
    cells = (result.get("nan_map") or {}).get("cells") or []
    return [{"gradient": name} | {k: str(v) for k, v in outcome.items()} for name, outcome in counts(cells).items()]


def markdown(result: dict[str, Any]) -> str:
    """All tables as Markdown."""
    setting = result["setting"]
    lines = [
        f"{setting['steps']} steps of {setting['batch_size']} scenes, encoder {setting['encoder']}, width "
        f"{setting['width']}, {setting['layers']} layers, {setting['parameters']:,} parameters, "
        f"{setting['elements']} elements; float32 products at matmul precision {setting['matmul_precision']}; "
        f"{result['versions']['processor']}; jax {result['versions'].get('jax')} on "
        f"{result['versions']['jax_device']}, "
        f"PyTorch {result['versions']['torch']} on {result['versions']['torch_device']}, "
        f"{result['versions']['torch_threads']} threads, torch.compile "
        f"{'on' if setting['compiled'] else 'off'}; load average {setting['load_average']:.1f}.",
    ]
    if not result["runs"]:
        lines += ["", "The trainings are left out: the machine was too busy for their times to mean anything."]
    for title, rows in make_tables(result).items():
        lines += ["", f"**{title}**", "", *markdown_rows(rows)]
    return "\n".join(lines) + "\n"


def _aligned(rows: list[Row]) -> list[Row]:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column, "-") for column in columns} for row in rows]


def _mebibytes(value: float | None) -> str:
    return "-" if value is None else f"{value / 2**20:.0f}"
