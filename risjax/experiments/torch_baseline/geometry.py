"""The geometry head and its set loss in PyTorch, batched: `risjax.model.geometry` and `risjax.loss.geometry_set`."""

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional

from risjax.config import ModelConfig, PhysicsConfig
from risjax.experiments.torch_baseline.blocks import Block, layer_norm
from risjax.model.geometry import NUMBERS
from risjax.spectral.grid import field_of_view

_softplus = functools.partial(functional.softplus, threshold=50.0)  # by default beyond 20 a straight line


class CrossAttention(nn.Module):
    """Multi-head attention of queries, the same in every scene, to the tokens of a scene."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """[J, W] and [B, T, W] to [B, J, W]."""
        batch, count, width = tokens.shape
        query = self.query(queries).view(1, -1, self.heads, width // self.heads).transpose(1, 2)
        projected = self.key_value(tokens).view(batch, count, 2, self.heads, width // self.heads)
        key, value = projected.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query.expand(batch, -1, -1, -1), key, value)
        return self.output(mixed.transpose(1, 2).reshape(batch, -1, width))


class GeometryHead(nn.Module):
    """queries + attention to the tokens, a block among the slots, and a linear layer."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(config.geometry_slots, config.width))
        self.attention = CrossAttention(config.width, config.heads)
        self.block = Block(config)
        self.norm = layer_norm(config.width)
        self.output = nn.Linear(config.width, NUMBERS)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens to logits of existence, [B, J], and of place, [B, J, 3]."""
        slots = self.attention(self.queries, tokens) + self.queries
        numbers = self.output(self.norm(self.block(slots)))
        return numbers[..., 0], numbers[..., 1:]


@torch.no_grad()
def make_places(physics: PhysicsConfig, position: Tensor, active: Tensor) -> dict[str, Tensor]:
    """``share`` [B, K, 3] and ``active`` [B, K] of true sources at (azimuth, elevation, range)."""
    ends = torch.tensor(field_of_view(physics), dtype=position.dtype, device=position.device)
    least, width = ends[:, 0], ends[:, 1] - ends[:, 0]
    place = torch.cat([position[..., :2].sin(), 1.0 / torch.where(active[..., None], position[..., 2:], 1.0)], dim=-1)
    share = torch.where(width > 0, (place - least) / torch.where(width > 0, width, 1.0), 0.5)
    return {"share": torch.where(active[..., None], share, 0.5), "active": active}


def geometry_set(
    existence: Tensor, place: Tensor, places: dict[str, Tensor], position: float, smoothing: float
) -> Tensor:
    """Binary cross-entropy of existence plus position errors, the least over all matchings, [B]."""
    active = places["active"]
    offset = place.sigmoid()[:, :, None, :] - places["share"][:, None, :, :]
    error = (offset.square() / ((smoothing**2 + offset.square()).sqrt() + smoothing)).sum(-1)
    weight = position / active.sum(-1).clamp_min(1).to(error.dtype)
    chosen = optimal_assignment(weight[:, None, None] * error - existence[..., None] / existence.shape[1], active)
    charged = _softplus(torch.where(chosen.any(-1), -existence, existence)).mean(-1)
    return charged + weight * torch.where(chosen, error, 0.0).sum((-2, -1))


@torch.no_grad()
def optimal_assignment(cost: Tensor, active: Tensor) -> Tensor:
    """Which slot takes which source at the least cost, [B, J, K]: the recursion of `risjax.loss.assignment`."""
    batch, num_slots, num_sources = cost.shape
    bits = 2 ** torch.arange(num_sources, device=cost.device)
    sets = torch.arange(2**num_sources, device=cost.device)[:, None]
    member, without = (sets & bits) > 0, sets & ~bits
    least = torch.where(sets[:, 0] == 0, 0.0, torch.inf).to(cost.dtype).expand(batch, -1)
    choices = []
    for slot in range(num_slots):
        taking = torch.where(member, least[:, without] + cost[:, slot, None, :], torch.inf)
        least, choice = torch.cat([least[..., None], taking], dim=-1).min(-1)
        choices.append(choice)
    left, chosen = (active * bits).sum(-1), torch.zeros(cost.shape, dtype=torch.bool, device=cost.device)
    for slot in reversed(range(num_slots)):
        taken = choices[slot].gather(1, left[:, None])[:, 0]
        chosen[:, slot] = taken[:, None] == 1 + torch.arange(num_sources, device=cost.device)
        left = torch.where(taken > 0, without[left, (taken - 1).clamp_min(0)], left)
    return chosen
