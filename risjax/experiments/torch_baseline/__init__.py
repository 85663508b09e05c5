"""The PyTorch baseline (extra ``torch``): the same network, loss and training in idiomatic PyTorch.

Only `risjax.experiments.compare` imports it, and nothing here computes with JAX. It uses PyTorch's strengths: autocast,
GradScaler, fused AdamW, fused attention, ``torch.compile`` where it works, a DataLoader that fetches whole batches.
`BaselineOptions` switches back on what made the original pipeline fail.
"""

from risjax.experiments.torch_baseline.casting import Packed, upcast
from risjax.experiments.torch_baseline.features import make_inputs
from risjax.experiments.torch_baseline.loss import total_loss
from risjax.experiments.torch_baseline.network import build_network
from risjax.experiments.torch_baseline.options import BaselineOptions
from risjax.experiments.torch_baseline.places import torch_place
from risjax.experiments.torch_baseline.projector import signal_overlap, signal_projector
from risjax.experiments.torch_baseline.runtime import describe_runtime, has_cuda, peak_memory_bytes, synchronize
from risjax.experiments.torch_baseline.scenes import MadeScenes, make_loader
from risjax.experiments.torch_baseline.terms import effective_covariance
from risjax.experiments.torch_baseline.training import StepReport, Trainer
from risjax.experiments.torch_baseline.weights import to_flax, to_torch

__all__ = [
    "BaselineOptions",
    "MadeScenes",
    "Packed",
    "StepReport",
    "Trainer",
    "build_network",
    "describe_runtime",
    "effective_covariance",
    "has_cuda",
    "make_inputs",
    "make_loader",
    "peak_memory_bytes",
    "signal_overlap",
    "signal_projector",
    "synchronize",
    "to_flax",
    "to_torch",
    "torch_place",
    "total_loss",
    "upcast",
]
