"""The transformer block: pre-norm, PyTorch's fused attention, tanh GELU."""

from torch import Tensor, nn
from torch.nn import functional

from risjax.config import ModelConfig


def layer_norm(width: int) -> nn.LayerNorm:
    """With flax's epsilon."""
    return nn.LayerNorm(width, eps=1e-6)


def gelu(x: Tensor) -> Tensor:
    """The tanh form, which is jax's default and not PyTorch's."""
    return functional.gelu(x, approximate="tanh")


class Attention(nn.Module):
    """Multi-head self-attention over tokens."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, W] to [B, T, W]."""
        batch, count, width = tokens.shape
        projected = self.query_key_value(tokens).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.output(mixed.transpose(1, 2).reshape(batch, count, width))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, hidden = config.width, config.mlp_ratio * config.width
        self.attention_norm = layer_norm(width)
        self.attention = Attention(width, config.heads)
        self.mlp_norm = layer_norm(width)
        self.mlp_in = nn.Linear(width, hidden)
        self.mlp_out = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, W] to [B, T, W]."""
        tokens = tokens + self.attention(self.attention_norm(tokens))
        return tokens + self.mlp_out(gelu(self.mlp_in(self.mlp_norm(tokens))))
