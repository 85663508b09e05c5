"""AdamW with decay on matrices, the warm-up-cosine schedule, clipping and EMA of `risjax.train`."""

import functools
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from risjax.config import TrainConfig


def make_optimizer(
    parameters: Iterable[nn.Parameter], train: TrainConfig, *, fused: bool = True
) -> tuple[torch.optim.AdamW, LambdaLR]:
    """AdamW, fused, and its schedule; biases, norms' scales and shifts are not decayed."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=train.learning_rate, fused=fused)
    total = train.epochs * train.steps_per_epoch
    warmup = min(max(round(train.warmup_fraction * total), 1), max(total - 1, 1))
    share = functools.partial(learning_rate_share, total=total, warmup=warmup, end=train.final_learning_rate_fraction)
    return optimizer, LambdaLR(optimizer, share)


def learning_rate_share(count: int, *, total: int, warmup: int, end: float) -> float:
    """Linear warm-up, then a cosine, as a share of the peak; ``count`` applied updates came before."""
    if count < warmup:
        return (count + 1) / warmup
    progress = min((count - warmup) / max(total - warmup, 1), 1.0)
    return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


@torch.no_grad()
def clip_by_global_norm(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Scales the gradients to a global norm of at most ``largest``; returns the norm before.

    Not ``nn.utils.clip_grad_norm_``, which divides by the norm *plus 1e-6* and so differs from other
    implementations after six digits.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, torch.clamp(largest / norm, max=1.0))  # pyright: ignore[reportPrivateImportUsage]
    return norm


@torch.no_grad()
def update_average(average: list[Tensor], parameters: list[Tensor], decay: float, applied: int) -> None:
    """The exponential moving average after ``applied`` earlier updates; its decay is shorter at first."""
    decay = min(decay, (1.0 + applied) / (10.0 + applied))
    torch._foreach_lerp_(average, parameters, 1.0 - decay)  # pyright: ignore[reportPrivateImportUsage]
