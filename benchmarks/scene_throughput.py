"""Throughput of scene generation: ``python benchmarks/scene_throughput.py [--batch 256] [--rounds 7] [--out FILE]``.

On a CPU the process binds itself to one core first, so that the figures are per core. Measured: scenes of (y, H,
c, label factor), the same with the back-projection x_hat, what generation takes of a training step of the default
network, and the memory after many batches. Variants take turns; medians of the rounds.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path


def one_core() -> int:
    """Binds this process, and the threads it will start, to its first core; returns how many it has then."""
    with contextlib.suppress(AttributeError):  # macOS has no affinity
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def median_rates(
    variants: dict[str, Callable[[int], object]], scenes: int, rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Scenes a second of each variant, a function of the batch's index.

    With ``time.process_time`` only the processor time of this process counts.
    """
    import jax

    for make in variants.values():
        jax.block_until_ready(make(0))
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for index in range(1, rounds + 1):
        for name, make in variants.items():
            started = clock()
            jax.block_until_ready(make(index))
            seconds[name].append(clock() - started)
    return {name: scenes / statistics.median(values) for name, values in seconds.items()}


def scene_variants(batch: int) -> dict[str, Callable[[int], object]]:
    """Generation alone and with the back-projection, for the default physics and the original's."""
    import jax

    from risjax.config.io import load_config
    from risjax.data.stream import scene_batch
    from risjax.keys import Purpose
    from risjax.physics.chunked_vmap import over_scenes
    from risjax.physics.measurement import back_projection

    variants: dict[str, Callable[[int], object]] = {}
    for name, overrides in (("default", []), ("original", ["physics=original"])):
        physics = load_config("base", overrides).physics

        def scenes(index: int, physics=physics) -> object:
            return scene_batch(physics, 0, Purpose.SIMULATE, index, batch)

        def images(index: int, physics=physics) -> object:
            scene = scene_batch(physics, 0, Purpose.SIMULATE, index, batch)
            return scene, over_scenes(lambda observation: back_projection(observation, 0.1), scene.observation)

        variants[f"{name}: y, H, c, label factor"] = jax.jit(scenes)
        variants[f"{name}: the same and x_hat"] = jax.jit(images)
    return variants


def share_of_a_step(rounds: int) -> dict[str, float]:
    """Seconds of generation and of a training step of the default network on the batch that it made."""
    import jax

    from risjax.checks import wait_for_checks
    from risjax.config.io import load_config
    from risjax.train.trainer import Trainer

    config = load_config("base", [])
    trainer = Trainer(config)
    state = trainer.init()
    batch = trainer.draw(state.step)
    state, _ = jax.block_until_ready(trainer.step(state, batch))
    drawing, stepping = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        batch = jax.block_until_ready(trainer.draw(state.step))
        drawing.append(time.perf_counter() - started)
        started = time.perf_counter()
        state, info = trainer.step(state, batch)
        jax.block_until_ready((state, info))
        stepping.append(time.perf_counter() - started)
    wait_for_checks()
    draw, step = statistics.median(drawing), statistics.median(stepping)
    return {
        "batch_size": config.train.batch_size,
        "draw_seconds": draw,
        "step_seconds": step,
        "generation_over_step": draw / step,
    }


def memory_growth(make: Callable[[int], object], batches: int) -> float:
    """Growth of the process's peak memory over ``batches`` batches, in MiB."""
    import jax

    jax.block_until_ready(make(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index in range(batches):
        jax.block_until_ready(make(index))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Measures and prints; with ``--out`` writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-step", action="store_true", help="leave the training step out")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    cores = one_core() if os.environ.get("JAX_PLATFORMS", "cpu") == "cpu" else os.cpu_count()

    import risjax  # noqa: F401  before jax

    import jax  # isort: skip

    variants = scene_variants(arguments.batch)
    result = {
        "device": jax.devices()[0].device_kind,
        "processor": platform.processor() or platform.machine(),
        "cores": cores,
        "load_average": os.getloadavg()[0],
        "jax": jax.__version__,
        "dtype": "float32",
        "batch": arguments.batch,
        "scenes_per_second": median_rates(variants, arguments.batch, arguments.rounds, time.perf_counter),
        "scenes_per_cpu_second": median_rates(variants, arguments.batch, arguments.rounds, time.process_time),
        "memory_growth_mib_over_100_batches": memory_growth(next(iter(variants.values())), 100),
    }
    if not arguments.no_step:
        result["training_step"] = share_of_a_step(arguments.rounds)
    print(json.dumps(result, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
