"""Cost of each optional loss term: time of loss and gradient, and of the training step, relative to the default.

    python benchmarks/loss_terms.py [section.key=value ...]      # minutes on a CPU

Every variant adds one thing to the default loss. All are compiled first, then run in turns, in a new random order each
round; printed and written to loss_terms.json are medians of the rounds' ratios of processor time to the default, with
their quartiles.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)
from risjax.runs.allocator import keep_freed_memory  # isort: skip

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import Config
from risjax.config.io import apply_overrides, load_config
from risjax.loss import Labels, loss_settings, make_labels, total_loss
from risjax.train import Trainer
from risjax.types import PackedComplex, Prediction

VARIANTS = {
    "default": {},
    "default again": {},
    "alignment": {"loss.alignment.weight": 0.5},
}
ROUNDS = 15


def loss_alone(config: Config, trainer: Trainer) -> Callable[[], Any]:
    """The loss of a batch with its gradient by healthy predictions."""
    scenes = trainer.draw(jnp.asarray(0))
    settings = loss_settings(config.loss)
    labels = make_labels(scenes, scenes.truth.label_factor[..., :1])
    shape = (2, config.train.batch_size, config.physics.array.num_elements, config.model.rank)
    parts = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)

    @jax.jit
    def slope(parts: jax.Array, labels: Labels) -> Any:
        def total(parts: jax.Array) -> jax.Array:
            prediction = Prediction(PackedComplex(parts[0], parts[1]))
            return total_loss(prediction, labels, settings, config.covariance, config.precision).total

        return jax.value_and_grad(total)(parts)

    return lambda: slope(parts, labels)


def whole_step(config: Config, trainer: Trainer) -> Callable[[], Any]:
    """Scenes, network, loss, gradient, update."""
    state = trainer.init()
    return lambda: trainer.step(state, trainer.draw(state.step))


def ratios(calls: dict[str, Callable[[], Any]]) -> dict[str, dict[str, float]]:
    """Processor seconds of each over those of ``default`` in the same round."""
    for call in calls.values():
        jax.block_until_ready(call())
    order, seconds = np.random.default_rng(0), {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name in order.permutation(list(calls)):
            started = time.process_time()
            jax.block_until_ready(calls[name]())
            seconds[name].append(time.process_time() - started)
    reference = np.array(seconds["default"])
    quantiles = {name: np.quantile(values / reference, [0.5, 0.25, 0.75]) for name, values in seconds.items()}
    return {
        name: dict(zip(("median", "low", "high"), map(float, found), strict=True)) for name, found in quantiles.items()
    }


def main(overrides: list[str]) -> None:
    """Measure, print and write."""
    keep_freed_memory()  # as the command line does
    base = load_config("base.yaml", ["checks.finite=false", *overrides])
    configs = {name: apply_overrides(base, changes) for name, changes in VARIANTS.items()}
    trainers = {name: Trainer(config) for name, config in configs.items()}
    results: dict[str, Any] = {
        "versions": {"jax": jax.__version__},
        "device": jax.devices()[0].device_kind,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "overrides": overrides,
        "batch": base.train.batch_size,
    }
    for what, make in (("loss and its gradient", loss_alone), ("training step", whole_step)):
        results[what] = ratios({name: make(configs[name], trainers[name]) for name in VARIANTS})
        print(what)
        for name, found in results[what].items():
            print(f"  {name:14} {found['median']:.2f} [{found['low']:.2f}, {found['high']:.2f}]")
    Path(__file__).with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
