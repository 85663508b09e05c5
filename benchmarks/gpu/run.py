"""Runs the parts of ``benchmarks/cuda.py``, each in a separate process, and writes the results after each one."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import DONE, FAILED, MACHINE, NOT_MEASURED, PARTS, STOPPED, Part
from risjax.runs.run_directory import write_atomically

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "runs" / "cuda"
"""Logs, and what a part has written so far."""


def run_part(part: Part, limit_s: float, *, rehearse: bool) -> dict[str, Any]:
    """The entry of a part: what its process wrote, and how it ended.

    Args:
        part: which.
        limit_s: seconds after which the process and all that it started are killed.
        rehearse: on the CPU, with tiny sizes.
    """
    WORK.mkdir(parents=True, exist_ok=True)
    written, log = WORK / f"{part.name}.json", WORK / f"{part.name}.log"
    written.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu.part", part.name, str(written)]
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # two frameworks share the GPU
    if rehearse:
        command.append("--rehearse")
        environment["JAX_PLATFORMS"] = "cpu"
    started = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _kill_group(process)
    entry = json.loads(written.read_text()) if written.exists() else {"status": STOPPED, "figures": []}
    entry["seconds"] = round(time.monotonic() - started, 1)
    if entry["status"] == STOPPED:
        entry |= _ending(code, limit_s, log)
    return entry


def _kill_group(process: subprocess.Popen) -> None:
    """Ends the part, if it still runs, and whatever it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ending(code: int | None, limit_s: float, log: Path) -> dict[str, str]:
    """Status and reason of a part that did not come to its end; ``code`` is None where the limit stopped it."""
    if code is None:
        return {"status": STOPPED, "reason": f"stopped after its limit of {limit_s:.0f} s"}
    lines = log.read_text(errors="replace").strip().splitlines() or ["no output"]
    return {"status": FAILED, "reason": f"exit status {code}: {lines[-1][:300]}"}


def measure(names: list[str], out: Path, minutes: float, *, rehearse: bool, again: bool) -> int:
    """Runs the parts that are missing in ``out``, or all that are named with ``again``; returns the exit status."""
    ends = time.monotonic() + 60 * minutes
    stored = json.loads(out.read_text()) if out.exists() else {}
    machine = run_part(MACHINE, MACHINE.limit_s, rehearse=rehearse)
    if machine["status"] != DONE:
        print(f"{machine['status']}: {machine['reason']}; --rehearse runs the same parts on a CPU", file=sys.stderr)
        return 2
    described = {"rehearsal": rehearse, **machine["machine"]}
    if stored and _identity(stored["machine"]) != _identity(described):
        print(f"{out.name} is of another device or other versions: every part is measured again")
        stored = {}
    report = {"machine": described, "parts": stored.get("parts", {})}
    for part in PARTS:
        entry = report["parts"].get(part.name, {})
        if part.name not in names or (entry.get("status") == DONE and not again):
            continue
        limit_s = min(part.limit_s * (3 if rehearse else 1), ends - time.monotonic())
        if limit_s < 5:
            print(f"{part.name}: no time left of {minutes:g} minutes; the same command measures it")
            continue
        report["parts"][part.name] = run_part(part, limit_s, rehearse=rehearse)
        write_atomically(out, json.dumps(report, indent=1) + "\n")
        _print(part.name, report["parts"][part.name])
    settled = {name for name, entry in report["parts"].items() if entry["status"] in (DONE, NOT_MEASURED)}
    return 0 if set(names) <= settled else 1


def _identity(machine: dict[str, Any]) -> dict[str, Any]:
    """Device and versions, without the memory that happened to be free."""
    return {name: value for name, value in machine.items() if name != "memory_bytes"}


def _print(name: str, entry: dict[str, Any]) -> None:
    print(f"{name}: {entry['status']} in {entry['seconds']} s {entry.get('reason', '')}".rstrip(), flush=True)
    for figure in entry["figures"]:
        print(f"    {figure['name']}: {figure['value']:.4g} {figure['unit']}", flush=True)
