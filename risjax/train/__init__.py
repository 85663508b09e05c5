"""Training: optimizer, pure step, host loop, health and checkpoints."""

from risjax.train.checkpoint import Checkpoint, CheckpointError, Checkpoints
from risjax.train.health import NonFiniteTraining
from risjax.train.loop import Outcome, estimate_step_seconds, load_best, train

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Checkpoints",
    "NonFiniteTraining",
    "Outcome",
    "estimate_step_seconds",
    "load_best",
    "train",
]
