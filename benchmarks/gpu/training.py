"""Parts of training: the step against compiled PyTorch, trials trained together, memory."""

import gc
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax

from benchmarks.accumulation import planned_bytes
from benchmarks.gpu.configs import resized
from benchmarks.gpu.parts import NotMeasured, figure
from benchmarks.training_step import make_config, timings, train_in_turns
from risjax.config import Config
from risjax.config.io import load_config
from risjax.experiments.search.population import train_population
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train import train

CASE = "backprojection-512"
LARGEST_BATCH = 16384
"""Beyond it PyTorch's scenes, made ahead, take too much of the host's memory."""
FILLED = 0.8
"""Share of the card's memory that both frameworks may need together."""
MEMBERS = 8


def step(*, rehearse: bool) -> Iterator[dict[str, Any]]:
    """PyTorch's seconds a step over risjax's, by batch size.

    Raises:
        NotMeasured: PyTorch is not installed, or it sees no GPU where jax does.
    """
    if find_spec("torch") is None:
        raise NotMeasured("no torch")
    from risjax.experiments import torch_baseline as baseline

    if jax.default_backend() == "gpu" and not baseline.has_cuda():
        raise NotMeasured("a torch without CUDA")
    small, medium = (4, 8) if rehearse else (64, 1024)
    yield _compared(small, 20, rehearse=rehearse, at_least=2)
    found = _compared(medium, 5, rehearse=rehearse)
    yield found
    batch = _filling_batch(medium, found["peak_bytes"], _card_bytes())
    while batch > medium:
        try:
            found = _compared(batch, 5, rehearse=rehearse, at_least=2)
        except RuntimeError as error:  # both frameworks raise it; the estimate knows nothing of fragmentation
            if not any(text in str(error) for text in ("RESOURCE_EXHAUSTED", "out of memory")):
                raise
            print(f"batch {batch}: {str(error)[:200]}")
            batch //= 2
        else:
            yield found
            break


def _card_bytes() -> int:
    """The memory of the card; 0 on a CPU."""
    if jax.default_backend() != "gpu":
        return 0
    import torch

    return torch.cuda.mem_get_info()[1]


def _compared(batch: int, steps: int, *, rehearse: bool, at_least: float | None = None) -> dict[str, Any]:
    """The figure of one batch size, with the peak of memory of each framework in this process so far."""
    from risjax.experiments import torch_baseline as baseline

    config = resized(make_config(CASE, "bfloat16", batch), rehearse=rehearse, train__batch_size=batch)
    timed = timings(config, train_in_turns(config, 2 if rehearse else steps, f"batch {batch}"))
    gc.collect()  # the trainings of one batch size make room for the next
    on_gpu = jax.default_backend() == "gpu"
    peaks = {
        "risjax": (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
        "pytorch": baseline.peak_memory_bytes("cuda") if on_gpu else None,
    }
    kept = {name: timed[name] for name in ("risjax", "pytorch", "width", "compiled", "not_compiled_because")}
    name = f"PyTorch's seconds a step over risjax's, batch {batch}"
    return figure(name, timed["ratio"], at_least=at_least, batch=batch, peak_bytes=peaks, **kept)


def _filling_batch(batch: int, peak_bytes: dict[str, int], card_bytes: int) -> int:
    """The largest power of two at which both trainings fit the card together, at most `LARGEST_BATCH`.

    Args:
        batch: a measured batch size.
        peak_bytes: of each framework there; they grow at most in proportion to the batch.
        card_bytes: memory of the card; 0 gives 0.
    """
    if card_bytes == 0:
        return 0
    most = int(batch * FILLED * card_bytes / sum(peak_bytes.values()))
    return min(1 << (most.bit_length() - 1), LARGEST_BATCH)


class _Clock:
    """Records when each epoch of a member ends; replaces the search's judge."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch(self, record: dict[str, Any]) -> None:
        """Takes an epoch's record."""
        self.ends.append(time.perf_counter())

    def verdict(self) -> None:
        """The population's members get no verdict here."""

    def epoch_seconds(self) -> float:
        """Mean seconds of an epoch after the first, which compiles."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def population(*, rehearse: bool) -> Iterator[dict[str, Any]]:
    """Trials an hour one after another and eight together, of 4 epochs of 100 steps, as in quick.yaml."""
    size = {"train__steps_per_epoch": 2, "train__epochs": 3} if rehearse else {"train__epochs": 3}
    config = resized(load_config("quick"), rehearse=rehearse, **size)
    with tempfile.TemporaryDirectory() as folder:
        clock = _Clock()
        train(config, RunDirectory(Path(folder) / "alone"), Terminal(quiet=True), on_epoch=clock.on_epoch)
        alone = 3600 / (4 * clock.epoch_seconds())
        yield figure("trials an hour, one after another", alone)
        together = _together(config, Path(folder))
    yield figure(f"trials an hour, {MEMBERS} together", together)
    yield figure("ratio", together / alone, at_least=3)


def _together(config: Config, folder: Path) -> float:
    """Trials an hour of `MEMBERS` trained together."""
    clocks = [_Clock() for _ in range(MEMBERS)]
    rates = [0.002 * (member + 1) for member in range(MEMBERS)]
    configs = [resized(config, rehearse=False, train__learning_rate=rate) for rate in rates]
    directories = [RunDirectory(folder / str(member)) for member in range(MEMBERS)]
    train_population(configs, clocks, directories)  # pyright: ignore[reportArgumentType]
    return MEMBERS * 3600 / (4 * clocks[-1].epoch_seconds())


def memory(*, rehearse: bool) -> Iterator[dict[str, Any]]:
    """XLA's plan for the default network's step: bytes of temporaries and of arguments."""
    batch = 8 if rehearse else 4096
    for parts in (1, 8):
        config = load_config("base", ["checks.finite=false"])
        config = resized(config, rehearse=rehearse, train__batch_size=batch, train__accumulation=parts)
        temporaries, held = planned_bytes(config)
        name = f"temporaries, batch {batch} in {parts} part{'s' * (parts > 1)}"
        yield figure(name, temporaries / 2**20, "MiB", arguments_mib=round(held / 2**20, 1))
