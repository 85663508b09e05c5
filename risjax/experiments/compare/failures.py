"""The original's failure, reproduced in PyTorch on the same scenes from the same weights, and repaired."""

import warnings
from typing import Any

import numpy as np

from risjax.config import Config
from risjax.experiments import torch_baseline as baseline
from risjax.experiments.compare.paired_training import made_scenes, network_weights
from risjax.experiments.torch_baseline.options import Cast, Rule
from risjax.train import Trainer

SETTINGS: tuple[tuple[str, Cast, Rule, float | None], ...] = (
    ("nothing cast", "none", "builtin", 1.0),
    ("predictions cast", "predictions", "builtin", 1.0),
    ("predictions and labels cast", "both", "builtin", 1.0),
    ("the same, small loading", "both", "builtin", None),
    ("the same, repaired", "both", "dense", 1.0),
    ("the good baseline", "both", "low_rank", None),
)
"""Name, cast, gradient rule, loading (None is the configuration's)."""


def reproduce(config: Config, device: str) -> list[dict[str, Any]]:
    """Run a few steps of each setting under autocast(float16); steps with a NaN are skipped and counted.

    Returns:
        One record for each setting: ``name``, ``cast``, ``rule``, ``loading``, ``loss`` of the first step, ``steps``,
        ``nan_steps`` and, where PyTorch refuses an operation, ``raises``.
    """
    config = _with(config, "precision", compute="float16")
    trainer = Trainer(config)
    params = network_weights(trainer.init().params)
    steps = config.compare.failure_steps
    scenes = made_scenes(trainer, 0, steps)
    records = []
    for name, cast, rule, loading in SETTINGS:
        case = config if loading is None else _with(config, "covariance", loading=loading)
        record = {"name": name, "cast": cast, "rule": rule, "loading": case.covariance.loading, "steps": steps}
        options = baseline.BaselineOptions(cast=cast, rule=rule, compile=False, device=device)
        theirs = baseline.Trainer(case, params, options)
        loader = baseline.make_loader(scenes, config.train.batch_size, device=device)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "ComplexHalf support is experimental")
                reports = [theirs.step(batch) for batch in loader]
        except RuntimeError as error:
            record |= {"loss": None, "nan_steps": None, "raises": str(error).strip().splitlines()[0]}
        else:
            # float16 overflows, too (inf), which the loss scale is there for; a repeated eigenvalue is NaN.
            nan_steps = sum(np.isnan(report.grad_norm) for report in reports)
            record |= {"loss": reports[0].loss, "nan_steps": int(nan_steps), "raises": None}
            record["skipped"] = theirs.skipped
        records.append(record)
    return records


def _with(config: Config, section: str, **values: Any) -> Config:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})
