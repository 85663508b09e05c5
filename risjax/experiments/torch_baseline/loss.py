"""The loss in PyTorch: whole dictionaries are upcast, then the terms of `risjax.loss`, batched.

``prediction = {"factor": F [B, N, rank]}`` and ``labels = {"factor": B [B, N, K], "num_sources": [B],
"sample": x_hat [B, N, 1]}``, complex tensors or `Packed` pairs.
"""

from typing import Any, cast

import torch
from torch import Tensor

from risjax.config import CovarianceConfig
from risjax.experiments.torch_baseline.casting import join, upcast
from risjax.experiments.torch_baseline.options import BaselineOptions
from risjax.experiments.torch_baseline.projector import builtin_projector, signal_overlap, signal_projector
from risjax.experiments.torch_baseline.terms import subspace_alignment
from risjax.loss import LossSettings

GRADIENT_FLOOR = 1.0e-2
"""As in `risjax.linalg.scale`."""


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
    weights, terms = settings.weights, {}
    if "covariance" in weights:
        terms["covariance"] = covariance_nmse(factor, label)
    if "alignment" in weights:
        terms["alignment"] = subspace_alignment(normalise_trace(factor), label, cast(float, settings.alignment_loading))
    if "projector" in weights:
        terms["projector"] = projector_distance(factor, label, sample, labels["num_sources"], covariance, options)
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


def _promoted(value: Any, factor: Tensor) -> Tensor:
    value = join(value)
    return value.to(torch.promote_types(value.dtype, factor.dtype))


def _gram(factor: Tensor) -> Tensor:
    return factor @ factor.mH


def _energy(matrix: Tensor) -> Tensor:
    """Squared Frobenius norms; of |z|^2 without the root that ``abs`` would differentiate."""
    return torch.view_as_real(matrix).square().sum((-3, -2, -1))
