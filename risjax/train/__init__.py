"""Training: optimizer, pure step, host loop, health and checkpoints."""

from risjax.train.checkpoint import Checkpoint, CheckpointError, Checkpoints
from risjax.train.epoch import fit_network
from risjax.train.health import NonFiniteTraining
from risjax.train.loop import Outcome, load_best, load_best_checkpoint, train
from risjax.train.posterior import fit_heads, train_posterior
from risjax.train.trainer import Trainer, estimate_step_seconds
from risjax.train.validation import estimate_scene_seconds

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Checkpoints",
    "NonFiniteTraining",
    "Outcome",
    "Trainer",
    "estimate_scene_seconds",
    "estimate_step_seconds",
    "fit_heads",
    "fit_network",
    "load_best",
    "load_best_checkpoint",
    "train",
    "train_posterior",
]
