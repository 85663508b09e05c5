"""Versions, device and memory of PyTorch, and ``torch.compile`` with a loud way back."""

import resource
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_MATMUL = {"highest": "highest", "default": "high"}
"""jax's ``default`` is TF32 on recent NVIDIA GPUs, which PyTorch calls ``high``; on a CPU both are float32."""


def describe_runtime(device: str) -> dict[str, Any]:
    """Return version, device, threads, float32 matmul precision."""
    cuda = device == "cuda"
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if cuda else None,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def set_matmul_precision(name: str) -> None:
    """States the precision of float32 products for all of PyTorch.

    Raises:
        ValueError: a precision that PyTorch has no counterpart of (jax's ``high``, three bfloat16 or TF32 passes).
    """
    if name not in _MATMUL:
        raise ValueError(f"PyTorch has no matmul precision like {name!r}; use one of {', '.join(_MATMUL)}")
    torch.set_float32_matmul_precision(_MATMUL[name])


def has_cuda() -> bool:
    """Return whether PyTorch has a CUDA device."""
    return torch.cuda.is_available()


def peak_memory_bytes(device: str) -> int:
    """Peak of the device's allocator since the start; on a CPU the peak resident memory of the whole process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def synchronize(device: str) -> None:
    """Waits until the device has done what it was asked."""
    if device == "cuda":
        torch.cuda.synchronize()


def compile_network(
    network: nn.Module, features: dict[str, Tensor], autocast: torch.autocast
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """``torch.compile(network)``, tried forward and backward on a batch; the network itself where that fails.

    Complex numbers are what inductor cannot generate code for, so features and loss stay outside.

    Returns:
        What to call, and ``{"compiled": bool, "seconds": of the trial, "reason": why not}``. A failure also warns.
    """
    started = time.perf_counter()
    compiled = torch.compile(network, dynamic=False)
    try:
        with autocast:
            parts = compiled(features)
        torch.autograd.backward([part.sum() for part in parts])
    except Exception as error:  # noqa: BLE001  (whatever inductor or its C++ compiler raise)
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        warnings.warn(f"torch.compile failed, the baseline runs eagerly and slower: {reason}", stacklevel=2)
        compiled, reported = network, {"compiled": False, "reason": reason}
    else:
        reported = {"compiled": True, "reason": None}
    network.zero_grad(set_to_none=True)
    return compiled, {**reported, "seconds": time.perf_counter() - started}
