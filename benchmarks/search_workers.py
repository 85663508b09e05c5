"""Cost of sharing a study: four workers on one study against four studies, ``python benchmarks/search_workers.py``.

A trial trains nothing but lasts as long as one would that takes ``--trial-s`` seconds, in 12 epochs, each of them
reported. The loss against four separate studies comes from locks of the storage and waiting at the end. It is
smaller in a real search, whose trials last minutes.
"""

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from pathlib import Path

from risjax.config import Config, Distribution, SearchConfig
from risjax.experiments.search.study import search
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal

WORKERS, EPOCHS = 4, 12


def work(folder: str, trials: int, trial_s: float) -> None:
    """One worker, from joining its study to the study's end."""

    def train(config: Config, directory: RunDirectory, terminal: Terminal, *, on_epoch) -> None:
        for epoch in range(1, config.train.epochs + 1):
            time.sleep(trial_s / EPOCHS)
            value = config.train.learning_rate * 1000 + 1 / epoch
            on_epoch({"epoch": epoch, "validation": {"gospa_m": value}})

    space = {"train.learning_rate": Distribution(log_uniform=(1e-4, 1e-2))}
    settings = SearchConfig(trials=trials, epochs=EPOCHS, pruner="none", space=space)
    search(Config(stages=("search",), search=settings), RunDirectory(folder), Terminal(quiet=True), train=train)


def trials_per_second(pool, folders: list[str], trials: int, total: int, trial_s: float) -> float:
    """Trials a second of four workers, one in each of the folders."""
    started = time.perf_counter()
    pool.starmap(work, [(folder, trials, trial_s) for folder in folders], chunksize=1)
    return total / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40, help="in all, a multiple of four")
    parser.add_argument("--trial-s", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {"one study": [], "four studies": []}
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        pool.map(abs, range(WORKERS))
        for _ in range(arguments.rounds):
            with tempfile.TemporaryDirectory() as folder:
                apart = [str(Path(folder) / str(index)) for index in range(WORKERS)]
                each, total = arguments.trials // WORKERS, arguments.trials
                rates["four studies"].append(trials_per_second(pool, apart, each, total, arguments.trial_s))
                shared = [str(Path(folder) / "shared")] * WORKERS
                rates["one study"].append(trials_per_second(pool, shared, total, total, arguments.trial_s))
    best = {name: max(values) for name, values in rates.items()}
    share = best["one study"] / best["four studies"]
    print(f"one study {best['one study']:.3f} trials/s, four {best['four studies']:.3f}: {100 * share:.1f} %")
    figures = {
        "what": "trials a second of four workers on one study over those of four studies, best of the rounds",
        "share": share,
        "trials per second": rates,
        "trial seconds": arguments.trial_s,
        "trials": arguments.trials,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
