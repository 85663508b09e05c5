"""PyTorch's part of the NaN map (`risjax.experiments.compare.nan_map`): the gradient of one projector loss."""

import numpy as np
import torch
from torch import Tensor

from risjax.experiments.torch_baseline.casting import Packed, join
from risjax.experiments.torch_baseline.projector import builtin_projector, signal_projector
from risjax.experiments.torch_baseline.terms import normalise_trace


def gradient(
    parts: np.ndarray, label: np.ndarray, loading: float, *, cut: int, rule: str, compute: str, label_dtype: str
) -> np.ndarray:
    """Return the gradient of ||P(R) - P_label||^2 with respect to (Re A, Im A).

    Args:
        parts: (Re A, Im A) in float32, exactly representable in ``compute``, [2, N, columns].
        label: (Re P, Im P) likewise in ``label_dtype``, [2, N, N].
        loading: added to the diagonal.
        cut: K.
        rule: ``eigh`` or ``svd``, the library's own, or ``ours``.
        compute: dtype of A at the loss.
        label_dtype: dtype of the label at the loss.

    Raises:
        RuntimeError: an operation that does not exist in that precision.
    """
    leaf = torch.tensor(parts).to(getattr(torch, compute)).requires_grad_(True)
    target = torch.tensor(label).to(getattr(torch, label_dtype))
    _loss(leaf, target, loading, cut=cut, rule=rule).backward()
    assert leaf.grad is not None
    return leaf.grad.float().numpy().astype(float)


def _loss(parts: Tensor, label: Tensor, loading: float, *, cut: int, rule: str) -> Tensor:
    factor = torch.complex(parts[0], parts[1])  # complex32 in float16; bfloat16 raises
    target = join(Packed(label[0], label[1]))
    identity = torch.eye(factor.shape[0])
    if rule == "ours":
        factor = normalise_trace(factor)
        matrix = factor @ factor.mH + loading * identity
    else:
        matrix = factor @ factor.mH
        matrix = matrix * (factor.shape[0] / torch.trace(matrix).real) + loading * identity
    if rule == "svd":
        vectors = torch.linalg.svd(matrix)[0][:, :cut]
        projector = vectors @ vectors.mH
    else:
        project = signal_projector if rule == "ours" else builtin_projector
        projector = project(matrix[None], torch.tensor([cut]), max_sources=cut)[0]
    difference = projector - target
    return difference.real.square().sum() + difference.imag.square().sum()
