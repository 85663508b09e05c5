"""The repair in PyTorch: the gauge-invariant derivative of the signal projector as ``torch.autograd.Function``.

The same rule as `risjax.linalg`, with the same broadening: only gaps across the cut occur, 1 / delta replaced by
delta / (delta^2 + tau^2). Batched over the leading axis; K may differ from scene to scene.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

TAU = 1.0e-4
"""Broadening of eigenvalue gaps at trace N, as `risjax.linalg.hermitian.TAU`."""


def signal_projector(matrix: Tensor, num_sources: Tensor, *, max_sources: int) -> Tensor:
    """P = U_s U_s^H of Hermitian matrices [B, N, N], K [B]; differentiable however close eigenvalues lie."""
    return _DenseProjector.apply(matrix, num_sources, max_sources)


def builtin_projector(matrix: Tensor, num_sources: Tensor, *, max_sources: int) -> Tensor:
    """The same value through ``torch.linalg.eigh`` and *its* derivative, which divides by all gaps."""
    vectors = torch.linalg.eigh(matrix).eigenvectors.flip(-1)[..., :max_sources]
    signal = vectors * _mask(max_sources, num_sources, matrix)[:, None, :]
    return signal @ vectors.mH


def signal_overlap(factor: Tensor, label: Tensor, num_sources: Tensor) -> Tensor:
    """tr(P_1 P_2) [B] of the signal subspaces of F F^H + delta I, F [B, N, rank] of trace N, and of a label's factor.

    Only F is differentiated. Nothing of size N x N is formed.
    """
    return _Overlap.apply(factor, label, num_sources)


class _DenseProjector(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, num_sources: Tensor, max_sources: int) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        values, vectors = values.flip(-1), vectors.flip(-1)
        mask = _mask(max_sources, num_sources, matrix)
        leading = vectors[..., :max_sources]
        ctx.save_for_backward(values, vectors, mask)
        return (leading * mask[:, None, :]) @ leading.mH

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        values, vectors, mask = ctx.saved_tensors
        count = mask.shape[-1]
        leading = vectors[..., :count]
        hermitian = 0.5 * (cotangent + cotangent.mH)
        padded = torch.nn.functional.pad(mask, (0, values.shape[-1] - count))
        gaps = values[:, None, :count] - values[:, :, None]
        slope = (mask[:, None, :] - padded[:, :, None]) * broadened_reciprocal(gaps)
        slope[:, :count] *= 0.5  # a pair of two leading vectors is met twice
        half = (vectors @ (slope * (vectors.mH @ (hermitian @ leading)))) @ leading.mH
        return half + half.mH, None, None


class _Overlap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, factor: Tensor, label: Tensor, num_sources: Tensor) -> Tensor:
        predicted, labelled = orthonormal_basis(factor), orthonormal_basis(label)
        signal, signal_two = (
            torch.where(basis.singular > 0, _mask(basis.singular.shape[-1], num_sources, factor), 0.0)
            for basis in (predicted, labelled)
        )
        cosines = predicted.vectors.mH @ (labelled.vectors * signal_two[:, None, :])
        ctx.save_for_backward(*predicted, labelled.vectors, signal, cosines)
        overlap = (signal[:, :, None] * (cosines.real.square() + cosines.imag.square())).sum((-2, -1))
        return torch.where(torch.isfinite(factor.real + factor.imag).all(-1).all(-1), overlap, torch.nan)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        vectors, singular, right, other, signal, cosines = ctx.saved_tensors
        eigenvalues = singular.square()
        outer = other @ cosines.mH  # P_2 Q_1
        inner = cosines @ cosines.mH  # Q_1^H P_2 Q_1
        gaps = eigenvalues[:, None, :] - eigenvalues[:, :, None]
        across = signal[:, None, :] * (1.0 - signal)[:, :, None] * broadened_reciprocal(gaps)
        weight = (signal * singular * broadened_reciprocal(eigenvalues))[:, None, :]
        coupled = inner * across
        # Gradients by A = Q^H Z, then by Z = dF V, then by F: the transpose of `risjax.linalg.low_rank`'s rule.
        by_inside = coupled * singular[:, None, :] + (coupled * singular[:, :, None]).mH - inner * weight
        by_image = outer * weight + vectors @ by_inside
        return 2.0 * cotangent[:, None, None] * (by_image @ right.mH), None, None


class Basis(NamedTuple):
    """Orthonormal basis of a factor's span: vectors [B, N, r], singular values [B, r], right vectors [B, r, r]."""

    vectors: Tensor
    singular: Tensor
    right: Tensor


def orthonormal_basis(factor: Tensor) -> Basis:
    """Singular vectors from the eigenvectors of F^H F, re-orthogonalised; see `risjax.linalg.low_rank`.

    ``torch.linalg.eigh`` raises on NaN, for a whole batch: scenes that are not finite are taken as zero here.
    """
    num_elements, rank = factor.shape[-2:]
    eps = torch.finfo(factor.dtype).eps
    factor = torch.where(torch.isfinite(factor.real + factor.imag), factor, 0.0)
    right = torch.linalg.eigh(factor.mH @ factor).eigenvectors.flip(-1)
    images = factor @ right
    norms = (images.real.square() + images.imag.square()).sum(-2).sqrt()
    tolerance = max(num_elements, rank) * eps * norms.square().sum(-1, keepdim=True).sqrt()
    above = norms > tolerance
    unit = torch.where(above[:, None, :], images / torch.where(above, norms, 1.0)[:, None, :], 0.0)
    loading = torch.where(above, rank * eps, 1.0).to(factor.dtype)
    lower = torch.linalg.cholesky_ex(unit.mH @ unit + torch.diag_embed(loading)).L
    pivots = lower.diagonal(dim1=-2, dim2=-1).real
    inside = (norms * pivots > tolerance) & (pivots.square() > 1e4 * eps)
    identity = torch.eye(rank, dtype=factor.dtype, device=factor.device)
    inverse = torch.linalg.solve_triangular(lower, identity, upper=False)
    vectors = unit @ (inverse.mH * inside[:, None, :])
    return Basis(vectors, torch.where(inside, norms * pivots, 0.0), right)


def broadened_reciprocal(gap: Tensor) -> Tensor:
    """delta / (delta^2 + tau^2)."""
    return gap / (gap.square() + TAU**2)


def _mask(count: int, num_sources: Tensor, like: Tensor) -> Tensor:
    """1 for the first K of ``count`` slots, [B, count], in the real dtype of ``like``."""
    slots = torch.arange(count, device=like.device)
    return (slots[None, :] < num_sources[:, None]).to(like.real.dtype)
