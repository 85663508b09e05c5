"""What copying X^T from memory is worth to the network with its backward pass: ``python benchmarks/products.py``.

`risjax.model.products` in turns with the same products whose transpose XLA fuses with whatever made X. Both are
compiled in one process and take turns in a new random order each round: medians of the rounds' ratios, with quartiles.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config.io import load_config
from risjax.environment import installed_environment
from risjax.model import build, make_inputs, products
from risjax.train import Trainer


def compiled(config: Any, copied: Callable[[jax.Array], jax.Array]) -> Callable[[], Any]:
    """The network's gradient on one batch, with a way to transpose, compiled."""
    trainer = Trainer(config)
    params = trainer.init().params
    scenes = trainer.draw(jnp.asarray(0))
    seen = config.model, config.physics
    features = jax.jit(jax.vmap(lambda one: make_inputs(one, *seen)))(scenes.observation).features
    network = build(config.physics.array, config.model, config.precision)

    def energy(params: Any) -> jax.Array:
        return sum((jnp.sum(part**2) for part in network.apply(params, features).factor), start=jnp.zeros(()))

    own = products._copied
    products._copied = copied
    program = jax.jit(jax.grad(energy)).lower(params).compile()
    products._copied = own
    return lambda: jax.block_until_ready(program(params))


def measure(width: int, compute: str, rounds: int) -> dict[str, Any]:
    """One width in one compute dtype."""
    config = load_config("base", ["physics=original", f"model.width={width}", f"precision.compute={compute}"])
    fused = compiled(config, lambda rows: jax.lax.optimization_barrier(rows.T))
    calls = {"fused": fused, "from_memory": compiled(config, products._copied)}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = np.random.default_rng(0)
    for _ in range(rounds):
        for name in order.permutation(list(calls)):
            started = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - started)
    ratios = np.array(seconds["fused"]) / np.array(seconds["from_memory"])
    low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    return {"width": width, "compute": compute, "seconds": medians, "ratio": median, "quartiles": [low, high]}


def main() -> None:
    """Measures, prints, and writes products.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--compute", nargs="+", default=["float32"])
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    rows = [measure(width, compute, arguments.rounds) for width in arguments.widths for compute in arguments.compute]
    for row in rows:
        print(f"width {row['width']} {row['compute']}: {row['ratio']:.2f} ({row['quartiles'][0]:.2f} to ", end="")
        print(f"{row['quartiles'][1]:.2f}), seconds {row['seconds']}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"versions": installed_environment(), "cores": cores, "load_average": os.getloadavg()[0], "cases": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
