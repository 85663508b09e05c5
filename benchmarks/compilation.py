"""Programs that XLA compiles before an answer, and their seconds: ``python benchmarks/compilation.py``.

Cases, each in a fresh process: ``risjax.load`` and the first answer for one scene; the same for 64 scenes; quick.yaml
from end to end; the first step of a search's trials (the first, one of another width, one of a known width). *cold* is
without any persistent cache of compiled programs, *warm* with one that a process before has filled. *instructions* are
those of all programs before and after XLA's optimisations (``--xla_dump_to``), counted in a process apart.

    python benchmarks/compilation.py                               # everything, a quarter of an hour
    python benchmarks/compilation.py --cases scene batch trial     # without quick.yaml
    python benchmarks/compilation.py --root ../risjax-before       # another checkout too, in turns, and the ratios

Processor time is what to compare on a busy machine. Medians of the rounds; writes compilation.json beside this file.
With ``--root`` the file has the other checkout under "other", and "ratios" are its figures over this one's.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROBE = Path(__file__).with_name("compilation_probe.py")
CASES = ("scene", "batch", "quick", "trial")
FIGURES = ("seconds", "processor_seconds", "programs", "compile_seconds", "read_from_cache")

Stages = dict[str, dict[str, float]]
"""Figures of each stage of a process."""


def probe(root: Path, case: str, folder: Path, environment: dict[str, str]) -> Stages:
    """The figures of one process.

    Args:
        root: the checkout.
        case: one of `CASES`.
        folder: for the files of the run.
        environment: variables added to this process's, which are passed on without those of jax and risjax.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "RISJAX_"))}
    run = tempfile.mkdtemp(dir=folder)
    done = subprocess.run(
        [sys.executable, "-P", str(PROBE), case, run],
        cwd=root,
        env=inherited | {"PYTHONPATH": str(root)} | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def without_cache() -> dict[str, str]:
    """Environment of a process that neither reads nor writes compiled programs."""
    return {"JAX_ENABLE_COMPILATION_CACHE": "false", "RISJAX_CACHE_DIR": "off"}


def with_cache(folder: Path) -> dict[str, str]:
    """Environment of a process that keeps its compiled programs in a folder, small ones too."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def instructions(root: Path, case: str, folder: Path) -> dict[str, int]:
    """HLO instructions of all programs of a case, before and after XLA's optimisations."""
    dumped = folder / "dumped"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={dumped} --xla_dump_hlo_as_text"
    probe(root, case, folder, without_cache() | {"XLA_FLAGS": flags.strip()})
    counted = {}
    for when in ("before", "after"):
        texts = (file.read_text() for file in dumped.glob(f"*{when}_optimizations.txt"))
        counted[when] = sum(len(re.findall(r"^\s+(?:ROOT )?%?[\w.\-]+ = ", text, re.MULTILINE)) for text in texts)
    return counted


def one_round(root: Path, case: str) -> dict[str, Stages]:
    """Figures of a case, cold and warm."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold = probe(root, case, folder, without_cache())
        cached = with_cache(folder / "cache")
        probe(root, case, folder, cached)
        return {"cold": cold, "warm": probe(root, case, folder, cached)}


def medians(rounds: list[dict[str, Stages]]) -> dict[str, Stages]:
    """Median of each figure over the rounds."""
    return {
        mode: {
            stage: {
                figure: round(statistics.median(entry[mode][stage][figure] for entry in rounds), 3)
                for figure in FIGURES
            }
            for stage in stages
        }
        for mode, stages in rounds[0].items()
    }


def ratios(other: dict[str, Stages], this: dict[str, Stages]) -> dict[str, Stages]:
    """The other checkout's figures over this one's, where neither is 0."""
    return {
        mode: {
            stage: {
                figure: round(other[mode][stage][figure] / value, 2)
                for figure, value in figures.items()
                if value and other[mode][stage][figure]
            }
            for stage, figures in stages.items()
        }
        for mode, stages in this.items()
    }


def measure(roots: dict[str, Path], case: str, rounds: int, *, count_instructions: bool) -> dict[str, Any]:
    """A case of every checkout; which one begins alternates."""
    measured: dict[str, list[dict[str, Stages]]] = {name: [] for name in roots}
    for number in range(rounds):
        for name in list(roots)[:: 1 if number % 2 == 0 else -1]:
            measured[name].append(one_round(roots[name], case))
    found: dict[str, Any] = {name: medians(entries) for name, entries in measured.items()}
    if "other" in roots:
        found["ratios"] = ratios(found["other"], found["this"])
    if count_instructions:
        for name, root in roots.items():
            with tempfile.TemporaryDirectory() as folder:
                found[name]["instructions"] = instructions(root, case, Path(folder))
    return found


def lines(case: str, found: dict[str, Any]) -> list[str]:
    """A case as text, a line a stage."""
    text = []
    for name, modes in found.items():
        for mode in ("cold", "warm"):
            for stage, figures in modes[mode].items():
                shown = ", ".join(f"{figure.replace('_', ' ')} {value:g}" for figure, value in figures.items())
                text.append(f"{case:6s} {name:6s} {mode} {stage:18s} {shown}")
        if "instructions" in modes:
            counted = modes["instructions"]
            shown = f"instructions: {counted['before']} before optimisation, {counted['after']} after"
            text.append(f"{case:6s} {name:6s} {shown}")
    return text


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--root", type=Path, help="another checkout, measured in turns with this one")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--no-instructions", action="store_true", help="saves a process a case")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    sys.path[0] = str(ROOT)
    from risjax.runs.environment import installed_environment

    roots = {"this": ROOT} | ({"other": arguments.root.resolve()} if arguments.root else {})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    report: dict[str, Any] = {"versions": installed_environment(), "cores": cores, "rounds": arguments.rounds}
    report |= {"load_average": round(os.getloadavg()[0], 1), "cases": {}}
    for case in arguments.cases:
        found = measure(roots, case, arguments.rounds, count_instructions=not arguments.no_instructions)
        report["cases"][case] = found
        print("\n".join(lines(case, found)), flush=True)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
