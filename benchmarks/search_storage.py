"""Cost of the search storages: ``python benchmarks/search_storage.py [--trials 30] [--epochs 12] [--out FILE]``.

Every storage runs the same studies of trials without training, so that only the sampler and the storage take time.
Storages are interleaved, so that machine load affects all equally. Results are medians of the rounds and ratios to the
journal. The second table is for four workers on one study, the third for the delay of the next writer after a
``kill -9`` of the process that holds the lock.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

import risjax  # noqa: F401
from risjax.experiments.search.storage import open_storage

NAMES = ("journal", "journal, Optuna's lock", "SQLite, WAL", "SQLite, as it comes")


def make_storage(name: str, folder: Path) -> BaseStorage:
    """One of `NAMES`, with its file in ``folder``."""
    if name == "journal":
        return open_storage(None, folder)
    if name == "journal, Optuna's lock":
        return JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    if name == "SQLite, WAL":
        return open_storage(f"sqlite:///{folder}/wal.db", folder)
    return RDBStorage(f"sqlite:///{folder}/plain.db", engine_kwargs={"connect_args": {"timeout": 60}})


def objective(trial: optuna.Trial, epochs: int) -> float:
    """Trial with six settings that reports to the pruner after every epoch."""
    value = sum((trial.suggest_float(f"x{index}", 0.0, 1.0) - 0.5) ** 2 for index in range(6))
    for epoch in range(1, epochs + 1):
        trial.report(value + 1 / epoch, epoch)
        trial.should_prune()
    return value


def study_seconds(name: str, folder: Path, trials: int, epochs: int) -> float:
    """Seconds of a study on a storage."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=0)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=trials)
    started = time.perf_counter()
    study = optuna.create_study(
        storage=make_storage(name, folder), study_name="s", sampler=sampler, pruner=pruner, load_if_exists=True
    )
    study.optimize(lambda trial: objective(trial, epochs), n_trials=trials)
    return time.perf_counter() - started


def shared_seconds(name: str, folder: Path, trials: int, epochs: int, workers: int) -> float:
    """Seconds of one study of ``trials`` by several processes, their start not counted."""
    optuna.create_study(storage=make_storage(name, folder), study_name="s")
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        pool.map(abs, range(workers))
        started = time.perf_counter()
        pool.starmap(study_seconds, [(name, folder, trials // workers, epochs)] * workers, chunksize=1)
        return time.perf_counter() - started


def _die_with_the_lock(name: str, folder: Path) -> None:
    lock = make_storage(name, folder)._backend._lock
    lock.acquire()
    os._exit(9)


def seconds_after_a_kill(name: str, folder: Path) -> float:
    """Return the delay of the next writer after the process that holds the lock was killed."""
    process = multiprocessing.get_context("spawn").Process(target=_die_with_the_lock, args=(name, folder))
    process.start()
    process.join()
    started = time.perf_counter()
    optuna.create_study(storage=make_storage(name, folder), study_name="s")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    tables: dict[str, dict[str, float]] = {}
    for label, measure, names, rounds in (
        (
            "one worker, s",
            lambda n, f: study_seconds(n, f, arguments.trials, arguments.epochs),
            NAMES,
            arguments.rounds,
        ),
        ("four workers, s", lambda n, f: shared_seconds(n, f, arguments.trials, arguments.epochs, 4), NAMES, 1),
        ("wait after a kill, s", seconds_after_a_kill, NAMES[:2], 1),
    ):
        times: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                with tempfile.TemporaryDirectory() as folder:
                    times[name].append(measure(name, Path(folder)))
        tables[label] = {name: statistics.median(values) for name, values in times.items()}
        print(label)
        for name, seconds in tables[label].items():
            print(f"  {name:26s} {seconds:8.2f}  {seconds / tables[label]['journal']:6.1f} x")
    figures = {
        "what": "cost of the search's storage, trials that train nothing",
        "trials": arguments.trials,
        "epochs": arguments.epochs,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "optuna": optuna.__version__,
        "median seconds": tables,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
