"""The network, the loss and the optimizer once more, in plain PyTorch: what risjax is held against.

Written from the equations, not from the JAX code, for one configuration of any size. Nothing here runs in half
precision and nothing is repaired: ``torch.linalg.eigh`` differentiates in its own way.
"""

import math
from typing import Any

import numpy as np
import torch

Tensor = torch.Tensor


def to_torch(tree: Any) -> Any:
    """A nested dict of arrays as leaf tensors that want gradients."""
    if isinstance(tree, dict):
        return {key: to_torch(value) for key, value in tree.items()}
    return torch.tensor(np.asarray(tree), requires_grad=True)


def leaves(tree: Any) -> list[Tensor]:
    """Leaves in the order of ``jax.tree.leaves``: dicts by sorted key."""
    return [leaf for key in sorted(tree) for leaf in leaves(tree[key])] if isinstance(tree, dict) else [tree]


def linear(params: dict[str, Tensor], x: Tensor) -> Tensor:
    y = x @ params["kernel"]
    return y + params["bias"] if "bias" in params else y


def layer_norm(params: dict[str, Tensor], x: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], params["scale"], params["bias"], eps=1e-6)


def block(params: dict[str, Any], x: Tensor, heads: int) -> Tensor:
    batch, tokens, width = x.shape
    projected = linear(params["attention"]["query_key_value"], layer_norm(params["attention_norm"], x))
    query, key, value = projected.reshape(batch, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    x = x + linear(params["attention"]["output"], mixed.permute(0, 2, 1, 3).reshape(batch, tokens, width))
    hidden = torch.nn.functional.gelu(linear(params["mlp_in"], layer_norm(params["mlp_norm"], x)), approximate="tanh")
    return x + linear(params["mlp_out"], hidden)


def patches(elements: Tensor, side: int, patch: int) -> Tensor:
    batch, _, channels = elements.shape
    grid = elements.reshape(batch, side // patch, patch, side // patch, patch, channels)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(batch, (side // patch) ** 2, patch**2 * channels)


def network(params: dict[str, Any], elements: Tensor, context: Tensor, *, side: int, patch: int, heads: int) -> Tensor:
    """F of each scene, [B, N, rank] complex, from images on a square surface."""
    encoder = params["encoder"]
    tokens = linear(encoder["embed"], patches(elements, side, patch)) + encoder["place"]
    tokens = tokens + linear(encoder["context"], context)[:, None]
    for index in sorted(encoder["blocks"]):
        tokens = block(encoder["blocks"][index], tokens, heads)
    rows = linear(params["head"]["rows"], layer_norm(encoder["norm"], tokens))
    batch = len(rows)
    grid = rows.reshape(batch, side // patch, side // patch, patch, patch, -1).permute(0, 1, 3, 2, 4, 5)
    real, imag = grid.reshape(batch, side**2, -1).chunk(2, dim=-1)
    return torch.complex(real, imag)


def unit_trace(factor: Tensor) -> Tensor:
    matrix = factor @ factor.mH
    return matrix * (matrix.shape[-1] / matrix.diagonal(dim1=-2, dim2=-1).real.sum(-1))[..., None, None]


def covariance_nmse(factor: Tensor, label: Tensor) -> Tensor:
    target = unit_trace(label)
    error = (unit_trace(factor) - target).abs().square().sum((-2, -1))
    return error / target.abs().square().sum((-2, -1))


def effective_covariance(factor: Tensor, sample: Tensor, blend: float, shrinkage: float, loading: float) -> Tensor:
    blended = (1 - blend) * unit_trace(factor) + blend * unit_trace(sample)
    identity = torch.eye(factor.shape[-2], dtype=factor.dtype)
    return ((1 - shrinkage) * blended + (shrinkage + loading) * identity) / (1 + loading)


def projector_distance(covariance: Tensor, label: Tensor, num_sources: int) -> Tensor:
    """||P_hat - P||^2 / 2K through ``torch.linalg.eigh`` of the N x N matrices and its built-in gradient."""

    def projector(matrix: Tensor) -> Tensor:
        vectors = torch.linalg.eigh(matrix).eigenvectors[..., -num_sources:]
        return vectors @ vectors.mH

    difference = projector(covariance) - projector(unit_trace(label)).detach()
    return difference.abs().square().sum((-2, -1)) / (2 * num_sources)


def learning_rate_share(step: int, total: int, warmup: int, end: float) -> float:
    """Linear warm-up, then a cosine, as a share of the peak."""
    if step < warmup:
        return (step + 1) / warmup
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
