"""risjax against its PyTorch baseline: the same steps from the same weights on the same scenes."""

from risjax.experiments.compare.stage import compare

__all__ = ["compare"]
