"""The loss in PyTorch: whole dictionaries are upcast, then the terms of `risjax.loss`, batched.

``prediction = {"factor": F [B, N, rank]}`` and ``labels = {"factor": B [B, N, K], "num_sources": [B],
"sample": x_hat [B, N, 1]}``, complex tensors or `Packed` pairs.
"""

from typing import Any

import torch
from torch import Tensor

from risjax.config import CovarianceConfig
from risjax.config.loss import TERMS
from risjax.experiments.torch_baseline.casting import join, upcast
from risjax.experiments.torch_baseline.options import BaselineOptions
from risjax.experiments.torch_baseline.places import torch_place
from risjax.experiments.torch_baseline.terms import TermInputs
from risjax.loss import LossSettings
from risjax.registry import find


def total_loss(
    prediction: dict[str, Any],
    labels: dict[str, Any],
    settings: LossSettings,
    covariance: CovarianceConfig,
    options: BaselineOptions,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the terms' means over scenes, [], and each term for each scene, {name: [B]}.

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
    terms = {name: find(torch_place(TERMS[name]))(scenes, settings.numbers.get(name, {})) for name in weights}
    total = sum(
        (weight * terms[name].mean() for name, weight in weights.items()), start=torch.zeros((), device=factor.device)
    )
    return total, terms


def _promoted(value: Any, factor: Tensor) -> Tensor:
    value = join(value)
    return value.to(torch.promote_types(value.dtype, factor.dtype))
