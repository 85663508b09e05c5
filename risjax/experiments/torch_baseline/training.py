"""The training step in PyTorch: autocast, the loss in full precision, GradScaler, AdamW, schedule, EMA."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from risjax.config import Config
from risjax.experiments.torch_baseline.casting import narrow
from risjax.experiments.torch_baseline.features import make_inputs
from risjax.experiments.torch_baseline.loss import total_loss
from risjax.experiments.torch_baseline.network import build_network, prediction
from risjax.experiments.torch_baseline.optimizer import clip_by_global_norm, make_optimizer, update_average
from risjax.experiments.torch_baseline.options import BaselineOptions
from risjax.experiments.torch_baseline.runtime import compile_network, set_matmul_precision
from risjax.experiments.torch_baseline.weights import to_flax, to_torch
from risjax.loss import loss_settings

_HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class StepReport(NamedTuple):
    """Results of one training step.

    Attributes:
        loss: the weighted sum.
        terms: mean of each term over the batch.
        grad_norm: global norm of the unscaled gradient before clipping.
        finite: whether the gradient was finite and the step was applied.
        loss_scale: float16's scale, 1 otherwise.
    """

    loss: float
    terms: dict[str, float]
    grad_norm: float
    finite: bool
    loss_scale: float


class Trainer:
    """A training under a risjax configuration.

    Args:
        config: precision, model, loss, covariance and train are read; AdamW is the optimizer there is.
        params: flax parameters to start from; None initialises as PyTorch does.
        options: see `BaselineOptions`.

    Raises:
        ValueError: another optimizer, or a matmul precision that PyTorch does not have.
    """

    def __init__(self, config: Config, params: Mapping[Any, Any] | None = None, options: BaselineOptions | None = None):
        if getattr(config.train, "optimizer", "adamw") != "adamw":
            raise ValueError(f"the PyTorch baseline trains with adamw, got train.optimizer = {config.train.optimizer}")
        self.config, self.options = config, options or BaselineOptions()
        self.device = torch.device(self.options.device)
        set_matmul_precision(config.precision.loss_matmul)
        self.network = build_network(
            config.physics.array,
            config.model,
            dtype=getattr(torch, config.precision.params),
            device=self.options.device,
        )
        if params is not None:
            self.network.load_state_dict(to_torch(params))
        self.average = [p.detach().clone() for p in self.network.parameters()]
        self.optimizer, self.schedule = make_optimizer(self.network.parameters(), config.train)
        precision = config.precision
        self.half = _HALF.get(precision.compute)
        self.scaler = torch.amp.GradScaler(
            self.device.type,
            init_scale=precision.initial_loss_scale,
            growth_interval=precision.loss_scale_period,
            enabled=self.half == torch.float16,
        )
        self.terms = loss_settings(config.loss)
        self.applied = self.skipped = 0
        self.compilation: dict[str, Any] | None = None
        self._forward: Any = self.network

    def step(self, batch: Mapping[str, Tensor]) -> StepReport:
        """Run one step on a batch of `MadeScenes`, in ``train.accumulation`` parts; the first step compiles."""
        self.optimizer.zero_grad(set_to_none=True)
        scale = self.scaler.get_scale()
        parts = self.config.train.accumulation
        losses, means = [], []
        for part in range(parts):
            loss, terms = self.loss({name: value.chunk(parts)[part] for name, value in batch.items()})
            self.scaler.scale(loss / parts).backward()
            losses.append(loss.detach())
            means.append({name: values.detach().mean() for name, values in terms.items()})
        self.scaler.unscale_(self.optimizer)
        norm = clip_by_global_norm(self.network.parameters(), self.config.train.clip_norm)
        finite = bool(torch.isfinite(norm))
        if finite or not (self.options.skip_nonfinite or self.scaler.is_enabled()):
            self.scaler.step(self.optimizer)
            self.schedule.step()
            update_average(self.average, list(self.network.parameters()), self.config.train.ema_decay, self.applied)
            self.applied += 1
        else:
            self.skipped += 1
        self.scaler.update()
        whole = {name: sum(part[name].item() for part in means) / parts for name in means[0]}
        return StepReport(sum(loss.item() for loss in losses) / parts, whole, norm.item(), finite, scale)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its terms, differentiable by the network's parameters."""
        features, labels = self._inputs(batch)
        if self.options.compile and self.compilation is None:
            self._forward, self.compilation = compile_network(self.network, features, self._autocast())
        with self._autocast():
            parts = self._forward(features)
        if self.half is not None:
            parts = tuple(part.to(self.half) for part in parts)
        return total_loss(prediction(parts), labels, self.terms, self.config.covariance, self.options)

    def parameters(self, *, average: bool = False) -> dict[Any, Any]:
        """The parameters, or their moving average, as flax has them."""
        state = self.network.state_dict()
        if average:
            names = [name for name, _ in self.network.named_parameters()]
            state = dict(zip(names, self.average, strict=True))
        return to_flax(state)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.half or torch.bfloat16, enabled=self.half is not None)

    def _inputs(self, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        moved = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        if "sample" in moved:
            features = {
                name.removeprefix("feature_"): value for name, value in moved.items() if name.startswith("feature_")
            }
            sample = moved["sample"]
        else:
            features, sample = make_inputs(moved, self.config.model, self.config.physics)
        labels: dict[str, Any] = {
            "factor": moved["label_factor"],
            "num_sources": moved["num_sources"],
            "sample": sample,
        }
        if self.options.cast != "both" and self.half is not None:
            labels = narrow(labels, self.half)
        return features, labels
