"""One process of benchmarks/compilation.py: ``python -P compilation_probe.py CASE FOLDER``, prints a line of JSON.

Only public functions of risjax and jax are used, so that any checkout on ``PYTHONPATH`` can be measured. Each stage
gives its seconds by the clock and of processor time, the programs that XLA compiled or read from the cache, and the
seconds of that.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMPILED = "/jax/core/compile/backend_compile_duration"
READ = "/jax/compilation_cache/cache_hits"
WIDTHS = (128, 96, 96)


class Counter:
    """Counts what jax compiles, from when it is made."""

    def __init__(self) -> None:
        from jax import monitoring

        self.programs, self.seconds, self.read = 0, 0.0, 0
        monitoring.register_event_duration_secs_listener(self._compiled)
        monitoring.register_event_listener(self._event)

    def _compiled(self, event: str, duration: float, **details: Any) -> None:
        if event == COMPILED:
            self.programs += 1
            self.seconds += duration

    def _event(self, event: str, **details: Any) -> None:
        self.read += event == READ


def scene(count: int) -> tuple[Any, ...]:
    """Random measurements (y, H, codes) of the released network's sizes: the programs do not depend on the values."""
    import numpy as np

    draw = np.random.default_rng(0)
    sizes = ((count, 16, 16), (count, 16, 144), (count, 16, 144))
    y, channel, codes = (draw.normal(size=size) + 1j * draw.normal(size=size) for size in sizes)
    return tuple(array.astype(np.complex64) for array in (y, channel, codes / np.abs(codes)))


def localise(count: int, stage: Any) -> None:
    """Stages ``load`` and the first answer for so many scenes."""
    with stage("load"):
        import risjax

        model = risjax.load("original")
    y, channel, codes = scene(count)
    with stage("scene" if count == 1 else "batch"):
        model.localise(y, channel, codes)


def quick(folder: Path, stage: Any) -> None:
    """The whole of quick.yaml."""
    with stage("quick"):
        from risjax import cli

        status = cli.main(["--config", "quick.yaml", "--quiet", f"run.directory={folder / 'run'}"])
    if status:
        raise SystemExit(f"quick.yaml ended with {status}")


def trials(stage: Any) -> None:
    """The first training step of three trials: the first of a process, one of another width, one of a known width."""
    import risjax  # noqa: F401  isort: skip  (before jax)

    import jax

    from risjax.config.io import load_config
    from risjax.train import Trainer

    for number, (name, width) in enumerate(zip(("first", "other_width", "known_width"), WIDTHS, strict=True)):
        with stage(f"trial_{name}"):
            rate = 0.01 + 0.001 * number
            trainer = Trainer(load_config("quick.yaml", [f"model.width={width}", f"train.learning_rate={rate}"]))
            jax.block_until_ready(trainer.advance(trainer.init()))


def main(case: str, folder: Path) -> None:
    """Runs a case and prints its stages."""
    clocks = {"seconds": time.perf_counter, "processor_seconds": time.process_time}
    begun = {name: clock() for name, clock in clocks.items()}  # the first stage pays for the imports
    import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

    counter, found = Counter(), {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        programs, seconds, read = counter.programs, counter.seconds, counter.read
        started = begun if not found else {clock: now() for clock, now in clocks.items()}
        yield
        found[name] = {
            **{clock: now() - started[clock] for clock, now in clocks.items()},
            "programs": counter.programs - programs,
            "read_from_cache": counter.read - read,
            "compile_seconds": counter.seconds - seconds,
        }

    cases = {
        "scene": lambda: localise(1, stage),
        "batch": lambda: localise(64, stage),
        "quick": lambda: quick(folder, stage),
        "trial": lambda: trials(stage),
    }
    cases[case]()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
