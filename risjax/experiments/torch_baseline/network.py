"""The network of `risjax.model` as ``torch.nn`` modules: the same names, so that weights cross over by name.

Parameters are float32 (or float64); under ``torch.autocast`` products run in half precision and the residual stream
stays in float32, as PyTorch's users have it.
"""

import torch
from torch import Tensor, nn

from risjax.config import ArrayConfig, ModelConfig
from risjax.experiments.torch_baseline.blocks import Block, layer_norm
from risjax.experiments.torch_baseline.casting import Packed
from risjax.experiments.torch_baseline.features import (
    TorchNetworkParts,
    component_inputs,
    image_inputs,
    parts_of,
    snapshot_inputs,
)
from risjax.experiments.torch_baseline.snapshots import SnapshotEncoder, SnapshotHead
from risjax.model.features import num_component_channels, num_image_channels

Features = dict[str, Tensor]


class PatchEncoder(nn.Module):
    """Transformer over patches of the elements' features."""

    def __init__(self, channels: int, array: ArrayConfig, config: ModelConfig):
        super().__init__()
        self.grid = (array.num_vertical, array.num_horizontal, config.patch)
        patches = array.num_elements // config.patch**2
        self.embed = nn.Linear(channels * config.patch**2, config.width)
        self.context = nn.Linear(2, config.width)
        self.place = nn.Parameter(0.02 * torch.randn(patches, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = layer_norm(config.width)

    def forward(self, features: Features) -> Tensor:
        """``elements`` [B, N, C] and ``context`` [B, 2] to tokens [B, T, W]."""
        tokens = self.embed(to_patches(features["elements"], *self.grid)) + self.place
        tokens = tokens + self.context(features["context"])[:, None]
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class BackprojectionEncoder(PatchEncoder):
    """Transformer over patches of regularised images."""

    def __init__(self, array: ArrayConfig, config: ModelConfig):
        super().__init__(num_image_channels(config), array, config)


class MinimumNormEncoder(PatchEncoder):
    """Transformer over patches of principal components."""

    def __init__(self, array: ArrayConfig, config: ModelConfig):
        super().__init__(num_component_channels(config), array, config)


class CovarianceHead(nn.Module):
    """Each token emits the rows of F that belong to its elements."""

    def __init__(self, array: ArrayConfig, config: ModelConfig):
        super().__init__()
        self.grid = (array.num_vertical, array.num_horizontal, config.patch)
        self.rows = nn.Linear(config.width, 2 * config.rank * config.patch**2)

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Tokens to the real and imaginary parts of F, [B, N, rank] each."""
        return from_patches(self.rows(tokens), *self.grid).chunk(2, dim=-1)


class CovarianceNetwork(nn.Module):
    """Encoder and head."""

    def __init__(self, array: ArrayConfig, config: ModelConfig):
        super().__init__()
        parts = parts_of(config)
        self.encoder, self.head = parts.encoder(array, config), parts.head(array, config)

    def forward(self, features: Features) -> tuple[Tensor, ...]:
        """The real and imaginary parts of F, [B, N, rank] each, in the dtype of the last product."""
        return self.head(self.encoder(features))


BACKPROJECTION = TorchNetworkParts(image_inputs, BackprojectionEncoder, CovarianceHead)
"""The encoder ``backprojection``."""

MINIMUM_NORM = TorchNetworkParts(component_inputs, MinimumNormEncoder, CovarianceHead)
"""The encoder ``minimum_norm``."""

SNAPSHOTS = TorchNetworkParts(snapshot_inputs, SnapshotEncoder, SnapshotHead)
"""The encoder ``snapshots``."""


def build_network(
    array: ArrayConfig, config: ModelConfig, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> CovarianceNetwork:
    """Build the network with PyTorch's initialisation; `to_torch` loads risjax's parameters into it."""
    return CovarianceNetwork(array, config).to(dtype=dtype, device=device)


def prediction(parts: tuple[Tensor, ...]) -> dict[str, Packed | Tensor]:
    """The prediction dictionary of a network's output."""
    return {"factor": Packed(*parts)}


def to_patches(elements: Tensor, rows: int, columns: int, patch: int) -> Tensor:
    """[B, N, C] to [B, T, patch * patch * C]."""
    batch, _, channels = elements.shape
    grid = elements.reshape(batch, rows // patch, patch, columns // patch, patch, channels)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, patch * patch * channels)


def from_patches(tokens: Tensor, rows: int, columns: int, patch: int) -> Tensor:
    """The inverse of `to_patches`."""
    batch = tokens.shape[0]
    grid = tokens.reshape(batch, rows // patch, columns // patch, patch, patch, -1)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(batch, rows * columns, -1)
