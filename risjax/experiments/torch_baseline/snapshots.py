"""`risjax.model.snapshots` in PyTorch: the original pipeline's shape of network."""

import torch
from torch import Tensor, nn

from risjax.config import ArrayConfig, ModelConfig
from risjax.experiments.torch_baseline.blocks import Block, gelu, layer_norm
from risjax.model.snapshots import summary_channels


class SnapshotEncoder(nn.Module):
    """One vector a scene: the mean token, the mean code, the mean H c."""

    def __init__(self, array: ArrayConfig, config: ModelConfig):
        super().__init__()
        channels = summary_channels(config)
        self.first = nn.Conv2d(2, channels, 3, padding="same")
        self.second = nn.Conv2d(channels, channels, 3, padding="same")
        self.embed = nn.Linear(channels, config.width)
        self.context = nn.Linear(1, config.width)
        self.codes = nn.Linear(2 * array.num_elements, channels)
        self.passed = nn.Linear(2, channels)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = layer_norm(config.width)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """``received`` and ``passed`` [B, L, M, 2], ``codes`` [B, L, 2 N], ``context`` [B, 1] to [B, summary]."""
        image = gelu(self.second(gelu(self.first(features["received"].movedim(-1, 1)))))
        tokens = self.embed(image.mean(dim=-1).mT) + self.context(features["context"])[:, None]
        for block in self.blocks:
            tokens = block(tokens)
        codes = gelu(self.codes(features["codes"])).mean(dim=1)
        passed = gelu(self.passed(features["passed"])).mean(dim=(1, 2))
        return torch.cat([self.norm(tokens).mean(dim=1), codes, passed], dim=-1)


class SnapshotHead(nn.Module):
    """All rows of F from the scene's one vector."""

    def __init__(self, array: ArrayConfig, config: ModelConfig):
        super().__init__()
        self.shape = (array.num_elements, 2 * config.rank)
        self.rows = nn.Linear(config.width + 2 * summary_channels(config), self.shape[0] * self.shape[1])

    def forward(self, summary: Tensor) -> tuple[Tensor, Tensor]:
        """[B, summary] to the real and imaginary parts of F, [B, N, rank] each."""
        real, imag = self.rows(summary).view(-1, *self.shape).chunk(2, dim=-1)
        return real, imag
