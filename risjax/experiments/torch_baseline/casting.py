"""The upcast of whole dictionaries before the loss.

A complex value in half precision travels as two real tensors: PyTorch's complex32 has next to no operations, and
bfloat16 has no complex partner at all.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Packed(NamedTuple):
    """A complex tensor as its real and imaginary parts."""

    real: Tensor
    imag: Tensor


def upcast(tree: Any) -> Any:
    """Half floats to float32 and `Packed` pairs to complex64 (complex128 from float64), the rest untouched.

    Differentiable; works through dictionaries, never narrows.
    """
    if isinstance(tree, dict):
        return {name: upcast(value) for name, value in tree.items()}
    if isinstance(tree, Packed):
        return torch.complex(upcast(tree.real), upcast(tree.imag))
    if tree.dtype in (torch.float16, torch.bfloat16):
        return tree.float()
    return tree


def narrow(tree: Any, dtype: torch.dtype) -> Any:
    """Floats to ``dtype`` and complex tensors to `Packed` pairs of it: labels as the original kept them."""
    if isinstance(tree, dict):
        return {name: narrow(value, dtype) for name, value in tree.items()}
    if tree.is_complex():
        return Packed(tree.real.to(dtype), tree.imag.to(dtype))
    return tree.to(dtype) if tree.is_floating_point() else tree


def join(value: Tensor | Packed) -> Tensor:
    """A `Packed` pair as PyTorch joins it without a cast: complex32 from float16, complex64 from bfloat16."""
    if not isinstance(value, Packed):
        return value
    if value.real.dtype == torch.bfloat16:
        return value.real + 1j * value.imag
    return torch.complex(value.real, value.imag)
