"""Cost of the checks in a training step: finiteness assertions, and the upcast and dtype check at the loss input.

    python benchmarks/finite_checks.py                                   # quick.yaml's own step, some minutes
    python benchmarks/finite_checks.py --config wide.yaml --rounds 40 train.batch_size=32

Variants of one step, interleaved: each round times every variant over ten steps and one wait for its assertions, as
between two log lines of a training, in a new random order. A variant's ratio is the median over the rounds of
its time over the plain step's in the same round, with a 95 % bootstrap interval; the plain step is in twice, and the
ratio of the two is the noise. Compare processor time if the machine is not idle.

* plain: no assertions;
* plain again: the same program once more;
* assertions: `checks.finite`, what trainings run by default;
* no door: neither upcast nor dtype check, the network's packed prediction joined to complex by hand.

Writes finite_checks.json: ratios, and whether "no door" compiles to the very program of "plain".
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)
from risjax.runs.allocator import keep_freed_memory  # isort: skip

import argparse
import functools
import json
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from machine import machine

import risjax.loss.total as total
from risjax.checks import chexified, wait_for_checks
from risjax.config.io import load_config
from risjax.train import Trainer
from risjax.train.settings import program_key
from risjax.train.step import make_step
from risjax.types import PackedComplex

STEPS = 10


def join(tree: Any) -> Any:
    """Join a packed prediction to complex, without upcast or check."""
    return jax.tree.map(
        lambda node: jax.lax.complex(node.real, node.imag) if isinstance(node, PackedComplex) else node,
        tree,
        is_leaf=lambda node: isinstance(node, PackedComplex),
    )


def without_door(step: Callable) -> Callable:
    """Return the step traced without upcast and dtype check."""

    @functools.wraps(step)
    def traced(*arguments: Any) -> Any:
        kept = total.upcast, total.check_upcast
        total.upcast, total.check_upcast = join, lambda tree, name: None
        try:
            return step(*arguments)
        finally:
            total.upcast, total.check_upcast = kept

    return traced


def instructions(compiled: Any) -> str:
    """The optimised program without the names and source lines of its operations."""
    text = re.sub(r", metadata=\{[^}]*\}|, backend_config=\{.*\}", "", compiled.as_text())
    names: dict[str, str] = {}
    text = "\n".join(line for line in text.splitlines() if " = " in line or line.endswith("{"))  # no tables of files
    return re.sub(r"%[\w.\-]+", lambda match: names.setdefault(match[0], f"%{len(names)}"), text)


def ratio(times: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Median of the rounds' ratios and its interval."""
    ratios = times / reference
    draws = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return {"value": float(np.median(ratios)), "low": float(low), "high": float(high)}


def main() -> None:
    """Measure, print and write."""
    keep_freed_memory()  # as the command line does
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="quick.yaml")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments, overrides = parser.parse_known_args()
    config = load_config(arguments.config, overrides)
    trainer = Trainer(config)
    state, batch = trainer.init(), trainer.draw(jnp.asarray(0))
    key, network = program_key(config), trainer.program.network

    def make(finite: bool) -> Callable:
        return make_step(key._replace(checks=key.checks.model_copy(update={"finite": finite})), network)

    plain = jax.jit(make(False))
    no_door = jax.jit(without_door(make(False)))
    variants = {
        "plain": plain,
        "plain again": plain,
        "assertions": chexified(jax.jit(make(True))),
        "no door": no_door,
    }
    states = {name: step(state, batch, trainer.settings)[0] for name, step in variants.items()}  # compiles
    programs = [instructions(step.lower(state, batch, trainer.settings).compile()) for step in (plain, no_door)]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    order = np.random.default_rng(0)
    for _ in range(arguments.rounds):
        for name in order.permutation(list(variants)):
            started, used = time.perf_counter(), time.process_time()
            for _ in range(STEPS):
                states[name], _ = variants[name](states[name], batch, trainer.settings)
            wait_for_checks()
            jax.block_until_ready(states[name])
            seconds[name].append((time.perf_counter() - started, time.process_time() - used))
    clock = {name: np.array(values)[:, 0] / STEPS for name, values in seconds.items()}
    processor = {name: np.array(values)[:, 1] / STEPS for name, values in seconds.items()}
    result = {
        "config": [arguments.config, *overrides],
        "compute": config.precision.compute,
        "batch": config.train.batch_size,
        **machine(),
        "versions": {"jax": jax.__version__, "python": platform.python_version()},
        "rounds of 10 steps": arguments.rounds,
        "milliseconds a step": {name: 1e3 * float(np.median(values)) for name, values in clock.items()},
        "ratio of the clock's time": {name: ratio(clock[name], clock["plain"]) for name in variants},
        "ratio of processor time": {name: ratio(processor[name], processor["plain"]) for name in variants},
        "without the door the compiled program is the same": programs[0] == programs[1],
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
