"""The loss in PyTorch: whole dictionaries are upcast, then the terms of `risjax.loss`, batched.

``prediction = {"factor": F [B, N, rank]}`` and ``labels = {"factor": B [B, N, K], "num_sources": [B],
"sample": x_hat [B, N, 1]}``, complex tensors or `Packed` pairs.
"""

from typing import Any, cast

import torch
from torch import Tensor

from risjax.config import CovarianceConfig
from risjax.config.loss import TERMS
from risjax.experiments.torch_baseline.casting import join, upcast
from risjax.experiments.torch_baseline.options import BaselineOptions
from risjax.experiments.torch_baseline.terms import TermInputs
from risjax.loss import LossSettings
from risjax.registry import find


def torch_place(name: str) -> str:
    """Return the place of a term of the loss in PyTorch.

    Raises:
        ValueError: the term is registered without one.
    """
    place = TERMS[name].torch
    if place is None:
        raise ValueError(
            f"the term {name!r} of the loss has no counterpart in PyTorch; set loss.{name}.weight to 0, or give "
            "`torch` in its risjax.registry.LossTerm"
        )
    return place


def total_loss(
    prediction: dict[str, Any],
    labels: dict[str, Any],
    settings: LossSettings,
    covariance: CovarianceConfig,
    options: BaselineOptions,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the terms' means over scenes, [], and each term for each scene, {name: [B]}.

    ``settings`` are Python numbers, of one moment: see `weights_at`.

    Raises:
        RuntimeError: by PyTorch, where ``options.cast`` leaves complex32 or mixed dtypes to an operation without them.
    """
    if options.cast in ("both", "predictions"):
        prediction = upcast(prediction)
    if options.cast == "both":
        labels = upcast(labels)
    factor = join(prediction["factor"])
    # Labels without a cast keep their rounding, but the first operation with a wider prediction promotes them.
    label, sample = _promoted(labels["factor"], factor), _promoted(labels["sample"], factor)
    scenes = TermInputs(factor, label, sample, labels["num_sources"], covariance, options)
    weights = settings.weights
    terms = {name: find(torch_place(name))(scenes, settings.numbers.get(name, {})) for name in weights}
    total = sum(
        (weight * terms[name].mean() for name, weight in weights.items()), start=torch.zeros((), device=factor.device)
    )
    return total, terms


def weights_at(settings: LossSettings, progress: float) -> LossSettings:
    """The settings of one moment, ``progress`` of all updates done: `risjax.loss.at_progress` in Python numbers."""
    schedule = settings.schedule
    if schedule is None:
        return settings

    def share(done: float, length: float) -> float:
        return min(done / length, 1.0) if length > 0 else 1.0

    early = 1.0 - share(progress, cast(float, schedule.warmup_fraction))
    late = 1.0 - share(1.0 - progress, cast(float, schedule.final_fraction))
    weights = {
        name: weight * (1.0 + early * (schedule.warmup[name] - 1.0) + late * (schedule.final[name] - 1.0))
        for name, weight in settings.weights.items()
    }
    return settings._replace(weights=weights, schedule=None)


def _promoted(value: Any, factor: Tensor) -> Tensor:
    value = join(value)
    return value.to(torch.promote_types(value.dtype, factor.dtype))
