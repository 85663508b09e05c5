"""The terms of `risjax.loss` in PyTorch, batched."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from risjax.config import CovarianceConfig
from risjax.experiments.torch_baseline.options import BaselineOptions
from risjax.experiments.torch_baseline.projector import (
    builtin_projector,
    orthonormal_basis,
    signal_overlap,
    signal_projector,
)

GRADIENT_FLOOR = 1.0e-2
"""As in `risjax.linalg.scale`."""


class TermInputs(NamedTuple):
    """Inputs of a term for a batch, in the precision of the loss.

    Attributes:
        predicted: F of R_pred, of any scale, [B, N, rank].
        label: B of the label covariance, [B, N, K].
        sample: factor of R_sample, [B, N, 1].
        num_sources: K of each scene, [B].
        covariance: settings that combine R_pred and R_sample into R_eff.
        options: of the baseline.
    """

    predicted: Tensor
    label: Tensor
    sample: Tensor
    num_sources: Tensor
    covariance: CovarianceConfig
    options: BaselineOptions


def covariance_term(scenes: TermInputs, numbers: Mapping[str, float]) -> Tensor:
    """`covariance_nmse` of R_pred, [B]."""
    return covariance_nmse(scenes.predicted, scenes.label)


def projector_term(scenes: TermInputs, numbers: Mapping[str, float]) -> Tensor:
    """`projector_distance` of R_eff, [B]."""
    predicted, label, sample, num_sources, covariance, options = scenes
    return projector_distance(predicted, label, sample, num_sources, covariance, options)


def alignment_term(scenes: TermInputs, numbers: Mapping[str, float]) -> Tensor:
    """`subspace_alignment` of R_pred, [B]."""
    return subspace_alignment(normalise_trace(scenes.predicted), scenes.label, numbers["loading"])


def covariance_nmse(factor: Tensor, label: Tensor) -> Tensor:
    """||R_pred - R||_F^2 / ||R||_F^2 of covariances of trace N, [B]."""
    target = _gram(normalise_trace(label))
    return _energy(_gram(normalise_trace(factor)) - target) / _energy(target)


def effective_covariance(factor: Tensor, sample: Tensor, settings: CovarianceConfig) -> tuple[Tensor, float]:
    """R_eff as its factor [B, N, rank + 1] and loading: the equation of `risjax.covariance`."""
    total = 1.0 + settings.loading
    parts = [
        (weight / total) ** 0.5 * normalise_trace(part)
        for weight, part in ((1.0 - settings.blend, factor), (settings.blend, sample))
    ]
    return torch.cat(parts, dim=-1), settings.loading / total


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


def subspace_alignment(factor: Tensor, label: Tensor, loading: float) -> Tensor:
    """Share of power outside the true span, plus the mean share of a true source that is not explained, [B].

    Args:
        factor: F of R_pred, of trace N, [B, N, rank].
        label: B of the label covariance, [B, N, K]; not differentiated.
        loading: delta.
    """
    label = label.detach()
    basis = orthonormal_basis(label).vectors
    outside = factor - basis @ (basis.mH @ factor)
    leakage = _squared(outside).sum((-2, -1)) / factor.shape[-2]
    energy = _squared(label).sum(-2)
    active = energy != 0
    unit = (label / torch.where(active, energy, 1.0).sqrt()[:, None, :]).mT
    missed = loading * inverse_quadratic_form(factor, loading, unit)
    return leakage + torch.where(active, missed, 0.0).sum(-1) / active.sum(-1).clamp_min(1)


def inverse_quadratic_form(factor: Tensor, loading: float, vectors: Tensor) -> Tensor:
    """a^H (F F^H + delta I)^-1 a of every a, [B, V, N] to [B, V]; as `risjax.linalg.woodbury`.

    It is the least over x of ||a - F x||^2 / delta + ||x||^2, so that its derivative is that of the same expression
    with x held fast: no factorisation is differentiated.
    """
    with torch.no_grad():
        rank, eps = factor.shape[-1], torch.finfo(factor.dtype).eps
        gram = factor.mH @ factor
        largest = gram.diagonal(dim1=-2, dim2=-1).real.amax(-1)
        raised = (rank * eps * largest).clamp_min(loading)[:, None]
        identity = torch.eye(rank, dtype=factor.dtype, device=factor.device)
        lower = torch.linalg.cholesky_ex(gram + raised[..., None] * identity).L
        columns = vectors.mT
        x = torch.cholesky_solve(factor.mH @ columns, lower)
        x = x + torch.cholesky_solve(factor.mH @ (columns - factor @ x) - raised[..., None] * x, lower)
    residual = vectors - (factor @ x).mT
    return _squared(residual).sum(-1) / raised + _squared(x).sum(-2)


def _squared(array: Tensor) -> Tensor:
    return array.real.square() + array.imag.square()


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
