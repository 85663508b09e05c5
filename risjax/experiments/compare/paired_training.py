"""Two trainings side by side: a step of risjax and a step of PyTorch in turns, on the same scenes.

The time of a step is the time that a user waits for it. risjax draws its scenes on the device within that time. PyTorch
takes them from a DataLoader over scenes that were simulated before; their simulation is not timed.
"""

import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from risjax.checks import wait_for_checks
from risjax.config import Config
from risjax.experiments import torch_baseline as baseline
from risjax.experiments.torch_baseline.scenes import FIELDS
from risjax.train import Trainer

NAMES = ("risjax", "pytorch")
_CHUNK_STEPS = 8
"""Steps whose scenes are made ahead at a time."""


class PairedTraining:
    """Both trainings of one configuration, from the same weights.

    Attributes:
        records: {name: a record for each step with ``loss``, ``finite``, ``grad_norm``, ``loss_scale``, ``seconds``}.
    """

    def __init__(self, config: Config, options: baseline.BaselineOptions, *, features_ahead: bool = False):
        self.config = config
        self.trainer = Trainer(config)
        self.state = self.trainer.init()
        self.theirs = baseline.Trainer(config, network_weights(self.state.params), options)
        self.records: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
        self._features_ahead = features_ahead
        self._batches: Iterator[Any] = iter(())
        self._left = 0

    def step(self) -> None:
        """Take one step of each; the order alternates."""
        self._make_scenes()
        turns = {"risjax": self._step_risjax, "pytorch": self._step_pytorch}
        order = NAMES if len(self.records["risjax"]) % 2 == 0 else NAMES[::-1]
        with jax.default_matmul_precision(self.config.precision.loss_matmul):
            for name in order:
                started = time.perf_counter()
                record = turns[name]()
                self.records[name].append({**record, "seconds": time.perf_counter() - started})

    def finish(self) -> None:
        """Wait for the assertions of the last steps."""
        wait_for_checks(self.state)

    def parameters(self, name: str) -> dict[Any, Any]:
        """The moving average of a training's parameters, as flax has them."""
        return network_weights(self.state.ema) if name == "risjax" else self.theirs.parameters(average=True)

    def timing(self, name: str, warmup: int) -> dict[str, Any]:
        """Median seconds of the steady steps with their quartiles, scenes a second, and the first step's seconds."""
        seconds = np.array([record["seconds"] for record in self.records[name]])
        steady = seconds[warmup:] if len(seconds) > warmup else seconds[-1:]
        low, median, high = np.quantile(steady, [0.25, 0.5, 0.75])
        return {
            "step_seconds": float(median),
            "quartiles": [float(low), float(high)],
            "steps": len(steady),
            "scenes_per_second": self.config.train.batch_size / float(median),
            "compilation_seconds": float(seconds[0] - median),
        }

    def _step_risjax(self) -> dict[str, Any]:
        self.state, info = self.trainer.advance(self.state)
        info = jax.block_until_ready(info)
        jax.block_until_ready(self.state)
        return {
            "loss": float(info.loss),
            "finite": bool(info.finite),
            "grad_norm": float(np.hypot(info.grad_norm_backbone, info.grad_norm_head)),
            "loss_scale": float(info.loss_scale),
        }

    def _step_pytorch(self) -> dict[str, Any]:
        report = self.theirs.step(next(self._batches))
        baseline.synchronize(self.theirs.options.device)
        return {name: getattr(report, name) for name in ("loss", "finite", "grad_norm", "loss_scale")}

    def _make_scenes(self) -> None:
        if self._left == 0:
            scenes = made_scenes(self.trainer, len(self.records["risjax"]), _CHUNK_STEPS)
            if self._features_ahead:
                scenes = scenes.with_features(self.config.model, self.config.physics)
            loader = baseline.make_loader(scenes, self.config.train.batch_size, device=self.theirs.options.device)
            self._batches, self._left = iter(loader), _CHUNK_STEPS
        self._left -= 1


def network_weights(params: dict[str, Any]) -> dict[str, Any]:
    """The network's own groups of parameters, on the host."""
    return {group: jax.device_get(params[group]) for group in ("encoder", "head")}


def made_scenes(trainer: Trainer, first: int, steps: int) -> baseline.MadeScenes:
    """The scenes of ``steps`` steps of a training's stream, as a PyTorch data set."""
    batches = [jax.device_get(trainer.draw(jnp.asarray(first + offset, jnp.int32))) for offset in range(steps)]
    rows = [
        (*batch.observation[:3], truth.label_factor, truth.sources.active.sum(-1))
        for batch in batches
        for truth in (batch.truth,)
    ]
    fields = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    return baseline.MadeScenes(dict(zip(FIELDS, fields, strict=True)))
