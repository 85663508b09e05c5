"""Records of steps and epochs for the log, and their text for the terminal."""

from typing import Any, get_args

import jax
import numpy as np
from jax.sharding import Mesh

from risjax.config.metric import Metric
from risjax.train.optimizer import schedule_count
from risjax.train.state import StepInfo, TrainState

_HEADINGS = {"nmse": "NMSE", "f1_3d": "F1 3-D", "f1_angle": "F1 angle", "gospa_m": "GOSPA m"}
ALWAYS_SHOWN = ("epoch", "loss", *_HEADINGS.values(), "skipped")
"""Columns of `epoch_row` that every screen is wide enough for."""


def devices_used(mesh: Mesh | None) -> dict[str, Any]:
    """Return the kind and number of the devices that train."""
    return {"device": jax.devices()[0].device_kind, "devices": 1 if mesh is None else mesh.size}


def counts(state: TrainState) -> dict[str, int]:
    """Return the numbers of skipped steps, applied updates, and updates that the schedule has counted."""
    skipped = int(state.skipped)
    applied, scheduled = int(state.step) - skipped, int(schedule_count(state.opt_state))
    return {"skipped_steps": skipped, "applied_updates": applied, "schedule_count": scheduled}


def step_record(step: int, epoch: int, info: StepInfo, scenes_per_second: float) -> dict[str, Any]:
    """Return the log's record of one step."""
    scalars = {name: value for name, value in info._asdict().items() if name != "terms"}
    return {
        "kind": "step",
        "step": step,
        "epoch": epoch,
        **{name: value.item() for name, value in scalars.items()},
        "terms": {name: value.item() for name, value in info.terms.items()},
        "scenes_per_second": scenes_per_second,
    }


def health_of(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means of the reports of an epoch's steps."""

    def mean(name: str) -> float:
        return float(np.mean([record[name] for record in records]))

    return {
        **{name: mean(name) for name in ("loss", "grad_norm_backbone", "grad_norm_head", "update_norm")},
        "terms": {name: float(np.mean([record["terms"][name] for record in records])) for name in records[0]["terms"]},
        "finite": all(record["finite"] and np.isfinite(record["loss"]) for record in records),
        "loss_scale": records[-1]["loss_scale"],
        "learning_rate": records[-1]["learning_rate"],
    }


def epoch_row(record: dict[str, Any], epochs: int) -> dict[str, str]:
    """Return an epoch as a row of the growing table."""

    def text(value: float | None) -> str:  # (JSON has no non-finite numbers)
        return "-" if value is None else f"{value:.3f}"

    return {
        "epoch": f"{record['epoch']}/{epochs}",
        "loss": text(record["loss"]),
        **{name: text(value) for name, value in record["terms"].items()},
        **{heading: text(record["validation"][name]) for name, heading in _HEADINGS.items()},
        "skipped": str(record["skipped_steps"]),
        "seconds": f"{record['seconds']:.1f}",
        "scenes/s": f"{record['scenes_per_second']:.0f}",
    }


def epoch_lines(record: dict[str, Any], epochs: int) -> str:
    """Return an epoch as two lines of text, for output to a file."""
    terms = "  ".join(f"{name} {value:.3f}" for name, value in record["terms"].items())
    metrics = "  ".join(
        f"{name} {value:.3f}" for name, value in record["validation"].items() if name in get_args(Metric)
    )
    finite = "all finite" if record["finite"] else "NOT ALL FINITE"
    return (
        f"epoch {record['epoch']}/{epochs}  loss {record['loss']:.3f} ({terms})  "
        f"|gradient| backbone {record['grad_norm_backbone']:.2f} head {record['grad_norm_head']:.2f}  "
        f"|update| {record['update_norm']:.4f}  {finite}  loss scale {record['loss_scale']:g}  "
        f"skipped {record['skipped_steps']}  {record['scenes_per_second']:.0f} scenes/s\n"
        f"  validation  {metrics}" + ("  (best so far)" if record["best_epoch"] == record["epoch"] else "")
    )
