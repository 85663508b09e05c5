"""The subspace alignment of the loss in PyTorch, batched: `risjax.loss.subspace_alignment`."""

import torch
from torch import Tensor

from risjax.experiments.torch_baseline.projector import orthonormal_basis


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
