"""Products of matrices in the network, in two comparisons: ``python benchmarks/products.py``.

*Network*: effect of copying X^T from memory on the time of the network with its backward pass. `risjax.model.products`
is interleaved with the same products with a transpose that XLA may fuse with the operation that produces X.

*Alone*: the products of a block of the transformer, forward and backward, each a program by itself, beside PyTorch's
(extra ``torch``). A training step cannot be faster than its products: their sum is the floor under its ratio.

All that is compared runs in one process and takes turns in a new random order each round: medians of the rounds'
ratios, with quartiles.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import json
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config.io import load_config
from risjax.model import build, make_inputs, products
from risjax.runs.environment import installed_environment
from risjax.train import Trainer

Call = Callable[[], Any]
FRAMEWORKS = ("risjax", "pytorch")


def compiled(config: Any, copied: Callable[[jax.Array], jax.Array]) -> Call:
    """The network's gradient on one batch, with a way to transpose, compiled."""
    trainer = Trainer(config)
    params = trainer.init().params
    scenes = trainer.draw(jnp.asarray(0))
    seen = config.model, config.physics
    features = jax.jit(jax.vmap(lambda observation: make_inputs(observation, *seen)))(scenes.observation).features
    network = build(config.physics.array, config.model, config.precision)

    def energy(params: Any) -> jax.Array:
        return sum((jnp.sum(part**2) for part in network.apply(params, features).factor), start=jnp.zeros(()))

    original = products._copied
    products._copied = copied
    program = jax.jit(jax.grad(energy)).lower(params).compile()
    products._copied = original
    return lambda: jax.block_until_ready(program(params))


def in_turns(calls: dict[str, Call], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of every call in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = np.random.default_rng(0)
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name in order.permutation(list(calls)):
            started = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(slower: np.ndarray, faster: np.ndarray) -> dict[str, Any]:
    """The median of the rounds' ratios, with quartiles."""
    low, median, high = np.quantile(slower / faster, [0.25, 0.5, 0.75])
    return {"ratio": float(median), "quartiles": [float(low), float(high)]}


def network(width: int, compute: str, rounds: int) -> dict[str, Any]:
    """The network's gradient with either transpose."""
    config = load_config("base", ["physics=original", f"model.width={width}", f"precision.compute={compute}"])
    fused = compiled(config, lambda rows: jax.lax.optimization_barrier(rows.T))
    seconds = in_turns({"fused": fused, "from_memory": compiled(config, products._copied)}, rounds)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    found = ratio(seconds["fused"], seconds["from_memory"])
    return {"width": width, "compute": compute, "seconds": medians, **found}


def alone(width: int, rounds: int, rows: int = 64 * 16) -> dict[str, Any]:
    """A block's four products with a weight, and their two gradients each, in float32: of 64 scenes of 16 tokens."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    draw = np.random.default_rng(0)
    calls: dict[str, Call] = {}
    for inputs, outputs in ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)):
        sizes = ((rows, inputs), (inputs, outputs), (rows, outputs))
        arrays = [draw.normal(size=size).astype(np.float32) for size in sizes]
        calls |= jax_products(f"{inputs} x {outputs}", *map(jnp.asarray, arrays))
        tokens, kernel, slope = map(torch.from_numpy, arrays)
        # bound at once: the loop's names change
        calls |= {
            f"pytorch {inputs} x {outputs} forward": lambda a=tokens, b=kernel: a @ b,
            f"pytorch {inputs} x {outputs} backward": lambda a=tokens, b=kernel, c=slope: (c @ b.T, a.T @ c),
        }
    seconds = in_turns(calls, rounds)
    blocks = {framework: sum(total for name, total in seconds.items() if framework in name) for framework in FRAMEWORKS}
    medians = {name: float(np.median(values)) for name, values in (seconds | blocks).items()}
    fastest = {name: float(sum(v.min() for part, v in seconds.items() if name in part)) for name in FRAMEWORKS}
    return {"width": width, "seconds": medians, "fastest": fastest, **ratio(blocks["pytorch"], blocks["risjax"])}


def jax_products(name: str, tokens: jax.Array, kernel: jax.Array, slope: jax.Array) -> dict[str, Call]:
    """A product as `risjax.model.products` has it, and its backward pass."""
    forward = jax.jit(products._product).lower(tokens, kernel).compile()
    backward = jax.jit(lambda *kept: products._backward(kept[:2], kept[2])).lower(tokens, kernel, slope).compile()
    return {
        f"risjax {name} forward": lambda: jax.block_until_ready(forward(tokens, kernel)),
        f"risjax {name} backward": lambda: jax.block_until_ready(backward(tokens, kernel, slope)),
    }


def main() -> None:
    """Measure, print and write products.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--compute", nargs="+", default=["float32"])
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    networks = [
        network(width, compute, arguments.rounds) for width in arguments.widths for compute in arguments.compute
    ]
    blocks = [alone(width, arguments.rounds) for width in arguments.widths] if find_spec("torch") else []
    for kind, rows in (("network, fused over from memory", networks), ("block, PyTorch over risjax", blocks)):
        for row in rows:
            print(f"{kind}, width {row['width']} {row.get('compute', 'float32')}: {row['ratio']:.2f} ", end="")
            print(f"({row['quartiles'][0]:.2f} to {row['quartiles'][1]:.2f}), ", end="")
            print(row["seconds"], row.get("fastest", ""))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {
        "versions": installed_environment(),
        "cores": cores,
        "load_average": os.getloadavg()[0],
        "network": networks,
        "alone": blocks,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
