"""Made scenes as a PyTorch data set, and its loader."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from risjax.config import ModelConfig, PhysicsConfig
from risjax.experiments.torch_baseline.features import make_inputs

FIELDS = ("snapshots", "channel", "codes", "label_factor", "num_sources")
"""y [L, M], H [M, N], c [L, N], the label covariance's factor [N, K], K []."""

Batch = dict[str, Tensor]


class MadeScenes(Dataset[Batch]):
    """Scenes in memory, fetched a batch at a time: one gather a field instead of a Python loop over scenes.

    Args:
        arrays: {field: array with a leading axis of scenes}; extra fields travel along.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray | Tensor]):
        missing = set(FIELDS) - set(arrays)
        if missing:
            raise ValueError(f"scenes lack {', '.join(sorted(missing))}; expected {', '.join(FIELDS)}")
        self.tensors = {name: torch.as_tensor(values) for name, values in arrays.items()}

    def __len__(self) -> int:
        return len(self.tensors["num_sources"])

    def __getitem__(self, index: int) -> Batch:
        return {name: values[index] for name, values in self.tensors.items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch at once; PyTorch's fetcher calls it where it is there."""
        chosen = torch.as_tensor(indices)
        return {name: values.index_select(0, chosen) for name, values in self.tensors.items()}

    def with_features(self, config: ModelConfig, physics: PhysicsConfig, *, batch_size: int = 256) -> "MadeScenes":
        """The same scenes with the network's inputs made ahead, once: the generous case of the benchmarks."""
        parts = []
        for start in range(0, len(self), batch_size):
            scenes = {name: values[start : start + batch_size] for name, values in self.tensors.items()}
            features, sample = make_inputs(scenes, config, physics)
            parts.append({f"feature_{name}": value for name, value in features.items()} | {"sample": sample})
        made = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return MadeScenes({**self.tensors, **made})


def make_loader(scenes: MadeScenes, batch_size: int, *, shuffle: bool = False, device: str = "cpu") -> DataLoader:
    """Whole batches in order (or shuffled), from pinned memory for a GPU.

    No worker processes: on the few cores of a CPU they only take turns with the computation, and a gather takes
    microseconds.
    """
    return DataLoader(
        scenes,
        batch_size=batch_size,
        shuffle=shuffle,
        drop_last=True,
        collate_fn=_identity,  # pyright: ignore[reportArgumentType]  (`__getitems__` has collated already)
        pin_memory=device != "cpu",
    )


def _identity(batch: Batch) -> Batch:
    return batch
