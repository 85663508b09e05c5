"""The loss in PyTorch: whole dictionaries upcast at the door, then the terms of `risjax.loss`, batched.

``prediction = {"factor": F [B, N, rank]}`` and ``labels = {"factor": B [B, N, K], "num_sources": [B],
"sample": x_hat [B, N, 1]}``, complex tensors or `Packed` pairs.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from risjax.baseline.casting import join, upcast
from risjax.baseline.options import BaselineOptions
from risjax.baseline.projector import builtin_projector, signal_overlap, signal_projector
from risjax.config import CovarianceConfig

GRADIENT_FLOOR = 1.0e-2
"""As in `risjax.linalg.scale`."""


def total_loss(
    prediction: dict[str, Any],
    labels: dict[str, Any],
    weights: Mapping[str, float],
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
    # Labels that nobody cast keep their rounding, but the first operation with a wider prediction promotes them.
    label, sample = (
        value.to(torch.promote_types(value.dtype, factor.dtype))
        for value in (join(labels["factor"]), join(labels["sample"]))
    )
    terms = {}
    if "covariance" in weights:
        terms["covariance"] = covariance_nmse(factor, label)
    if "projector" in weights:
        terms["projector"] = projector_distance(factor, label, sample, labels["num_sources"], covariance, options)
    total = sum(
        (weight * terms[name].mean() for name, weight in weights.items()), start=torch.zeros((), device=factor.device)
    )
    return total, terms


def covariance_nmse(factor: Tensor, label: Tensor) -> Tensor:
    """||R_pred - R||_F^2 / ||R||_F^2 of covariances of trace N, [B]."""
    target = _gram(normalise_trace(label))
    return _energy(_gram(normalise_trace(factor)) - target) / _energy(target)


def effective_covariance(factor: Tensor, sample: Tensor, settings: CovarianceConfig) -> tuple[Tensor, float]:
    """R_eff as its factor [B, N, rank + 1] and loading: the equation of `risjax.covariance`."""
    total = 1.0 + settings.loading
    parts = [
        ((1.0 - settings.shrinkage) * weight / total) ** 0.5 * normalise_trace(part)
        for weight, part in ((1.0 - settings.blend, factor), (settings.blend, sample))
    ]
    return torch.cat(parts, dim=-1), (settings.shrinkage + settings.loading) / total


def projector_distance(
    factor: Tensor,
    label: Tensor,
    sample: Tensor,
    num_sources: Tensor,
    covariance: CovarianceConfig,
    options: BaselineOptions,
) -> Tensor:
    """||P_hat - P||_F^2 / 2K of R_eff and the label, [B]."""
    effective, loading = effective_covariance(factor, sample, covariance)
    if options.rule == "low_rank":
        return 1.0 - signal_overlap(effective, label, num_sources) / num_sources
    project = signal_projector if options.rule == "dense" else builtin_projector
    identity = torch.eye(factor.shape[-2], dtype=effective.dtype, device=effective.device)
    slots = label.shape[-1]
    predicted = project(_gram(effective) + loading * identity, num_sources, max_sources=slots)
    with torch.no_grad():
        true = project(_gram(label), num_sources, max_sources=slots)
    return _energy(predicted - true) / (2 * num_sources)


def normalise_trace(factor: Tensor) -> Tensor:
    """F sqrt(N / tr(F F^H)), finite for all-zero, tiny and huge F; the rule of `risjax.linalg.normalise_trace`."""
    largest = torch.view_as_real(factor.detach()).abs().amax((-3, -2, -1))[..., None, None]
    usable = largest >= torch.finfo(largest.dtype).tiny
    largest = torch.where(usable, largest, 1.0)
    slope = torch.where(usable, largest.clamp_min(GRADIENT_FLOOR), 1.0)
    scaled = factor.detach() / largest + (factor - factor.detach()) / slope
    trace = _energy(scaled)[..., None, None]
    return scaled * torch.sqrt(factor.shape[-2] / torch.where(usable, trace, 1.0))


def _gram(factor: Tensor) -> Tensor:
    return factor @ factor.mH


def _energy(matrix: Tensor) -> Tensor:
    """Squared Frobenius norms; of |z|^2 without the root that ``abs`` would differentiate."""
    return torch.view_as_real(matrix).square().sum((-3, -2, -1))
