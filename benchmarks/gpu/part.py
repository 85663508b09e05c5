"""The process of one part: ``python -m benchmarks.gpu.part NAME FILE [--rehearse]``, started by benchmarks/cuda.py.

Writes the figures after each one, so that a part that is killed keeps those that it had.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import jax

from benchmarks.gpu.parts import DONE, MACHINE, NOT_MEASURED, PARTS, STOPPED, NotMeasured
from risjax.runs.run_directory import write_atomically


def run(name: str, out: Path, *, rehearse: bool) -> dict[str, Any]:
    """Runs a part and writes its entry.

    Raises:
        Exception: whatever the part raises; the entry then has the figures before it, and the status "stopped".
    """
    part = next(part for part in (MACHINE, *PARTS) if part.name == name)
    module, _, function = part.function.partition(":")
    measure = getattr(importlib.import_module(f"benchmarks.gpu.{module}"), function)
    entry: dict[str, Any] = {"status": STOPPED, "figures": []}
    try:
        for found in measure(rehearse=rehearse):
            if part is MACHINE:
                entry["machine"] = found
            else:
                entry["figures"].append(found)
            write_atomically(out, json.dumps(entry))
        entry["status"] = DONE
    except NotMeasured as reason:
        entry |= {"status": NOT_MEASURED, "reason": str(reason)}
    statistics = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        entry["peak_bytes"] = statistics["peak_bytes_in_use"]
    write_atomically(out, json.dumps(entry))
    return entry


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), rehearse="--rehearse" in sys.argv)
