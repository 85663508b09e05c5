"""Time of the complete training step, risjax against compiled PyTorch: ``python benchmarks/training_step.py``.

risjax draws fresh scenes within its step; PyTorch takes them from a DataLoader over scenes made before (untimed), and
once more with the network's inputs made before, too, which is generous. The same weights, scenes, optimizer and
float32 matmul precision; the two take turns step by step, medians of the steady steps, compilation apart. Cases:

* ``backprojection``, widths 512 and 128, on all cores;
* ``snapshots``, width 512, 4 layers, on one core (a process of its own that binds itself to it).

    python benchmarks/training_step.py                                      # writes training_step.json
    python benchmarks/training_step.py --compute bfloat16 --batch 64 4096   # on a GPU: also the batch that fills it
    python benchmarks/training_step.py --cases snapshots --steps 5          # one case

Beside the step its parts are timed, each compiled by itself, so that a ratio below one can be explained.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)
from risjax.runs.allocator import keep_freed_memory  # isort: skip

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CASES = {
    "backprojection-512": ["model.width=512", "model.heads=8"],
    "backprojection-128": ["model.width=128"],
    "snapshots-512": ["model.encoder=snapshots", "model.width=512", "model.heads=8"],
}
SHARED = ["physics=original", "model.layers=4", "train.optimizer=adamw", "train.learning_rate=1e-3"]
ONE_CORE = ("snapshots-512",)
WARMUP = 3


def one_core() -> None:
    """Binds this process, and the threads it will start, to its first core."""
    with contextlib.suppress(AttributeError):  # macOS has no affinity
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def make_config(name: str, compute: str, batch: int) -> Any:
    """The configuration of a case."""
    from risjax.config.io import load_config

    return load_config("base", [*SHARED, f"precision.compute={compute}", f"train.batch_size={batch}", *CASES[name]])


def train_in_turns(config: Any, steps: int, what: str, *, features_ahead: bool = False) -> Any:
    """Both trainings of a configuration, after ``steps`` steady steps of each in turns."""
    import jax

    from risjax.experiments import torch_baseline as baseline
    from risjax.experiments.compare.paired_training import PairedTraining

    options = baseline.BaselineOptions(device="cuda" if jax.default_backend() == "gpu" else "cpu")
    paired = PairedTraining(config, options, features_ahead=features_ahead)
    repeat(paired.step, steps + WARMUP, what)
    paired.finish()
    return paired


def timings(config: Any, paired: Any) -> dict[str, Any]:
    """The setting of two trainings, the timing of each, and PyTorch's seconds a step over risjax's."""
    from risjax.experiments.compare.stage import describe

    timed = {name: paired.timing(name, WARMUP) for name in ("risjax", "pytorch")}
    ratio = timed["pytorch"]["step_seconds"] / timed["risjax"]["step_seconds"]
    return {**describe(config, paired), **timed, "ratio": ratio}


def measure(name: str, compute: str, batch: int, steps: int) -> dict[str, Any]:
    """One case: both steps, PyTorch's with inputs made ahead, and the parts of both."""
    config = make_config(name, compute, batch)
    paired = train_in_turns(config, steps, name)
    ahead = train_in_turns(config, max(steps // 2, 2), f"{name}, inputs made ahead", features_ahead=True)
    timed, generous = timings(config, paired), ahead.timing("pytorch", WARMUP)
    return {
        "case": name,
        "compute": compute,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        **timed,
        "pytorch_inputs_ahead": generous,
        "ratio_inputs_ahead": generous["step_seconds"] / timed["risjax"]["step_seconds"],
        "parts": {"risjax": parts_risjax(paired), "pytorch": parts_pytorch(paired)},
    }


def repeat(step: Callable[[], None], count: int, what: str) -> None:
    """Iterate over the steps, with a progress line on a terminal."""
    for done in range(1, count + 1):
        step()
        if sys.stderr.isatty():
            print(f"\r{what}: {done}/{count} ", end="\n" if done == count else "", file=sys.stderr, flush=True)


def median_seconds(call: Callable[[], object], rounds: int = 5) -> float:
    """Median seconds of a call that waits for its result; the first one compiles and does not count."""
    call()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def parts_risjax(paired: Any) -> dict[str, float]:
    """Seconds of scenes, inputs, network and loss (each with its backward pass)."""
    import jax
    import jax.numpy as jnp

    from risjax.loss import loss_settings, make_labels, total_loss
    from risjax.model import build, make_inputs

    config, trainer, params = paired.config, paired.trainer, paired.state.params
    network = build(config.physics.array, config.model, config.precision)
    scenes = trainer.draw(paired.state.step)
    inputs = jax.jit(
        lambda seen: jax.vmap(lambda observation: make_inputs(observation, config.model, config.physics))(seen)
    )
    made = inputs(scenes.observation)
    terms = loss_settings(config.loss)
    labels = make_labels(scenes, made.sample_factor)
    prediction = jax.jit(network.apply)(params, made.features)

    def energy(params: Any) -> jax.Array:
        return sum((jnp.sum(part**2) for part in network.apply(params, made.features).factor), start=jnp.zeros(()))

    def loss(prediction: Any) -> jax.Array:
        return total_loss(prediction, labels, terms, config.covariance, config.precision).total

    network_gradient, loss_gradient = jax.jit(jax.grad(energy)), jax.jit(jax.grad(loss))
    wait = jax.block_until_ready
    return {
        "scenes": median_seconds(lambda: wait(trainer.draw(paired.state.step))),
        "inputs": median_seconds(lambda: wait(inputs(scenes.observation))),
        "network": median_seconds(lambda: wait(network_gradient(params))),
        "loss": median_seconds(lambda: wait(loss_gradient(prediction))),
    }


def parts_pytorch(paired: Any) -> dict[str, float]:
    """Seconds of the same parts of the PyTorch baseline, whose scenes are a gather."""
    import torch

    from risjax.experiments import torch_baseline as baseline
    from risjax.experiments.compare.paired_training import made_scenes
    from risjax.experiments.torch_baseline.network import prediction

    theirs, config = paired.theirs, paired.config
    device = theirs.options.device
    loader = baseline.make_loader(made_scenes(paired.trainer, 0, 8), config.train.batch_size, device=device)
    batches = iter(loader)
    moved = {name: value.to(device) for name, value in next(batches).items()}
    features, labels = theirs._inputs(moved)
    with theirs._autocast():
        emitted = theirs._forward(features)
    leaves = tuple(part.detach().requires_grad_(True) for part in emitted)

    def network() -> None:
        theirs.optimizer.zero_grad(set_to_none=True)
        with theirs._autocast():
            parts = theirs._forward(features)
        torch.autograd.backward([part.float().square().sum() for part in parts])
        baseline.synchronize(device)

    def loss() -> None:
        total, _ = baseline.total_loss(prediction(leaves), labels, theirs.terms, config.covariance, theirs.options)
        total.backward()
        baseline.synchronize(device)

    def inputs() -> None:
        theirs._inputs(moved)
        baseline.synchronize(device)

    return {
        "scenes": median_seconds(lambda: next(batches)),
        "inputs": median_seconds(inputs),
        "network": median_seconds(network),
        "loss": median_seconds(loss),
    }


def in_a_process_of_its_own(arguments: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    """A case on one core: affinity must be set before either framework starts its threads."""
    command = [sys.executable, __file__, "--bound", "--cases", name, "--steps", str(arguments.steps)]
    command += ["--compute", *arguments.compute, "--batch", *map(str, arguments.batch)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def main() -> None:
    """Measure, print and write the JSON."""
    keep_freed_memory()  # as the command line does
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--compute", nargs="+", default=["float32"])
    parser.add_argument("--batch", nargs="+", type=int, default=[64])
    parser.add_argument("--steps", type=int, default=20, help="steady steps of each")
    parser.add_argument("--bound", action="store_true", help="bind to one core, print JSON (used internally)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    if arguments.bound:
        one_core()

    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    from risjax.experiments import torch_baseline as baseline
    from risjax.runs.environment import installed_environment

    results: list[dict[str, Any]] = []
    for name in arguments.cases:
        if name in ONE_CORE and not arguments.bound and jax.default_backend() == "cpu":
            results += in_a_process_of_its_own(arguments, name)
            continue
        for compute in arguments.compute:
            for batch in arguments.batch:
                try:
                    results.append(measure(name, compute, batch, arguments.steps))
                except RuntimeError as error:  # out of memory, in either framework
                    results.append({"case": name, "compute": compute, "batch_size": batch, "error": str(error)[:300]})
    if arguments.bound:
        print(json.dumps(results))
        return
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    versions = {
        **installed_environment(),
        **baseline.describe_runtime(device),
        "jax_device": jax.devices()[0].device_kind,
    }
    arguments.out.write_text(json.dumps({"versions": versions, "cases": results}, indent=1) + "\n")
    for row in results:
        print(line(row))


def line(row: dict[str, Any]) -> str:
    """A case in one line."""
    head = f"{row['case']:20s} {row['compute']:8s} batch {row['batch_size']:5d}"
    if "error" in row:
        return f"{head}  {row['error']}"
    parts = "; ".join(
        f"{name} " + " ".join(f"{part} {seconds:.3f}" for part, seconds in row["parts"][name].items())
        for name in ("risjax", "pytorch")
    )
    return (
        f"{head} on {row['cores']} cores: risjax {row['risjax']['step_seconds']:.3f} s, PyTorch "
        f"{row['pytorch']['step_seconds']:.3f} s, ratio {row['ratio']:.2f} ({row['ratio_inputs_ahead']:.2f} with "
        f"PyTorch's inputs made ahead); {parts}"
    )


if __name__ == "__main__":
    main()
