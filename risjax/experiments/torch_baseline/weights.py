"""Weights cross over: flax's plain nested dict to PyTorch's ``state_dict`` and back, by name.

============= ================= ================== ===============================
flax          PyTorch           layer              axes
============= ================= ================== ===============================
kernel [i, o] weight [o, i]     linear             transposed
kernel        weight            convolution        [h, w, i, o] to [o, i, h, w]
scale         weight            layer norm         unchanged
others        the same name     bias, place        unchanged
============= ================= ================== ===============================
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_torch(params: Mapping[Any, Any]) -> dict[str, Tensor]:
    """A ``state_dict`` of flax parameters (arrays of any kind), in their dtype; a copy."""
    state: dict[str, Tensor] = {}
    for path, leaf in _flatten(params):
        *parents, name = path
        array = np.array(leaf)
        if name == "kernel":
            array = array.T if array.ndim == 2 else array.transpose(3, 2, 0, 1)
        name = {"kernel": "weight", "scale": "weight"}.get(name, name)
        state[".".join([*parents, name])] = torch.from_numpy(np.ascontiguousarray(array))
    return state


def to_flax(state: Mapping[str, Tensor]) -> dict[Any, Any]:
    """Flax parameters of a ``state_dict``: nested dicts of numpy arrays, lists of layers by integer keys; a copy."""
    params: dict[Any, Any] = {}
    for path, tensor in state.items():
        *parents, name = path.removeprefix("_orig_mod.").split(".")
        array = tensor.detach().cpu().numpy().copy()
        if name == "weight":
            name = "scale" if array.ndim == 1 else "kernel"
            array = {1: array, 2: array.T}[array.ndim] if array.ndim < 3 else array.transpose(2, 3, 1, 0)
        node = params
        for parent in parents:
            node = node.setdefault(int(parent) if parent.isdigit() else parent, {})
        node[name] = np.ascontiguousarray(array)
    return params


def _flatten(tree: Mapping[Any, Any]) -> list[tuple[list[str], Any]]:
    leaves = []
    for key, value in tree.items():
        inner = _flatten(value) if isinstance(value, Mapping) else [([], value)]
        leaves += [([str(key), *path], leaf) for path, leaf in inner]
    return leaves
