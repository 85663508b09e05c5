"""Configurations and trained networks of the parts, in full size or in the tiny one of a rehearsal."""

from typing import Any

from risjax.config import Config
from risjax.config.io import apply_overrides
from risjax.inference.predict.model import Model, load
from risjax.train import Trainer
from tests.tiny import TINY

RELEASED = "original"


def resized(config: Config, *, rehearse: bool, **overrides: Any) -> Config:
    """A configuration, tiny in a rehearsal; ``overrides`` hold in both, dotted paths with ``__`` for the dot."""
    size = TINY if rehearse else {}
    return apply_overrides(config, size | {path.replace("__", "."): value for path, value in overrides.items()})


def trained_model(*, rehearse: bool) -> Model:
    """The released network; in a rehearsal a tiny one with its initial parameters."""
    model = load(RELEASED)
    if not rehearse:
        return model
    config = resized(model.config, rehearse=True, weights=None)
    return Model("rehearsal", config, Trainer(config).init().params)
