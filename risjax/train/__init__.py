"""Training: optimizer, pure step, host loop, health and checkpoints."""

from risjax.train.checkpoint import Checkpoint, CheckpointError, Checkpoints
from risjax.train.health import NonFiniteTraining
from risjax.train.loop import Outcome, load_best, train
from risjax.train.posterior import train_posterior
from risjax.train.trainer import Trainer, estimate_step_seconds

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Checkpoints",
    "NonFiniteTraining",
    "Outcome",
    "Trainer",
    "estimate_step_seconds",
    "load_best",
    "train",
    "train_posterior",
]
