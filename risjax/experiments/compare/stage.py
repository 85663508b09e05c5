"""The stage ``compare``: both frameworks trained side by side, in every dtype; ``compare.json`` and ``compare.md``.

The result is written after each part (a dtype, the failures, the map), so that an interrupted comparison resumes with
the next one.
"""

import hashlib
import os
from typing import Any

import jax
import numpy as np

from risjax.config import Config
from risjax.config.loss import TERMS
from risjax.config.model import ENCODERS
from risjax.experiments import torch_baseline as baseline
from risjax.experiments.compare.comparison_tables import make_tables, markdown
from risjax.experiments.compare.failures import reproduce
from risjax.experiments.compare.final import final_metrics
from risjax.experiments.compare.memory import peak_memory
from risjax.experiments.compare.nan_map import CASTS, COMPUTE, CUTS, LOADINGS, RULES, nan_map
from risjax.experiments.compare.paired_training import NAMES, PairedTraining
from risjax.loss import loss_settings
from risjax.runs.environment import installed_environment
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.terminal import Bar, Terminal

FILE = "compare.json"


class CompareError(RuntimeError):
    """The comparison cannot be run; the message gives the reason."""


def compare(config: Config, directory: RunDirectory, terminal: Terminal) -> dict[str, Any]:
    """Compare, or resume a comparison, and print the tables.

    Returns:
        ``setting``, ``versions``, ``runs`` by compute dtype, ``failures``, ``nan_map``: the contents of
        ``compare.json``.

    Raises:
        CompareError: the two frameworks do not see the same kind of device, or a setting has no counterpart.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # two frameworks share a GPU
    device = _device()
    _refuse(config)
    result = directory.read_json(FILE, {})
    fingerprint = hashlib.sha256(config.model_dump_json(exclude={"run", "stages"}).encode()).hexdigest()[:16]
    if result.get("fingerprint") != fingerprint:
        result = {"fingerprint": fingerprint, "setting": {}, "versions": _versions(device), "runs": {}}
    for compute in config.compare.compute:
        if compute not in result["runs"]:
            result["runs"][compute] = _run(config, compute, device, terminal, result["setting"])
            directory.write_json(FILE, result)
    if "failures" not in result:
        result["failures"] = reproduce(config, device) if config.compare.failure_steps else []
        directory.write_json(FILE, result)
    if "nan_map" not in result:
        result["nan_map"] = _map(config, terminal)
        directory.write_json(FILE, result)
    result["tables"] = make_tables(result)
    directory.write_json(FILE, result)
    write_atomically(directory.path / "compare.md", markdown(result))
    for title, rows in result["tables"].items():
        terminal.table(title, rows, always=True)
    return result


def with_compute(config: Config, compute: str) -> Config:
    """Return the configuration with another compute dtype."""
    return config.model_copy(update={"precision": config.precision.model_copy(update={"compute": compute})})


def describe(config: Config, paired: PairedTraining) -> dict[str, Any]:
    """Return the settings of a paired training for the tables."""
    compilation = paired.theirs.compilation or {}
    return {
        "steps": len(paired.records["risjax"]),
        "batch_size": config.train.batch_size,
        "encoder": config.model.encoder,
        "width": config.model.width,
        "layers": config.model.layers,
        "rank": config.model.rank,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(paired.state.params)),
        "elements": config.physics.array.num_elements,
        "matmul_precision": config.precision.loss_matmul,
        "compiled": bool(compilation.get("compiled")),
        "not_compiled_because": compilation.get("reason"),
        "load_average": os.getloadavg()[0],
    }


def _run(config: Config, compute: str, device: str, terminal: Terminal, setting: dict[str, Any]) -> dict[str, Any]:
    with_dtype = with_compute(config, compute)
    steps = with_dtype.train.epochs * with_dtype.train.steps_per_epoch
    with terminal.progress(f"compare {compute}", total=steps) as bar:
        try:
            paired = PairedTraining(with_dtype, baseline.BaselineOptions(compile=config.compare.compile, device=device))
            _train(paired, steps, bar)
        except (NotImplementedError, RuntimeError) as error:
            if compute == "float32":
                raise
            return {"unsupported": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"}
    setting.update(describe(with_dtype, paired))
    run: dict[str, Any] = {name: _summary(paired, name, config.compare.warmup_steps) for name in NAMES}
    run["compilation"] = paired.theirs.compilation
    if config.compare.memory:
        for name in NAMES:
            run[name]["memory"] = _memory(name, with_dtype, device)
    run["final"] = final_metrics(with_dtype, {name: paired.parameters(name) for name in NAMES})
    return run


def _train(paired: PairedTraining, steps: int, bar: Bar) -> None:
    for _ in range(steps):
        paired.step()
        risjax, pytorch = (f"{paired.records[name][-1]['loss']:.3f}" for name in NAMES)
        bar.advance(risjax=risjax, pytorch=pytorch)
    paired.finish()


def _summary(paired: PairedTraining, name: str, warmup: int) -> dict[str, Any]:
    records = paired.records[name]
    last = [record["loss"] for record in records[-max(len(records) // 10, 1) :]]
    return {
        **paired.timing(name, warmup),
        "skipped": sum(not record["finite"] for record in records),
        "nan_steps": sum(bool(np.isnan(record["grad_norm"])) for record in records),
        "final_loss": float(np.mean(last)),
        "losses": [record["loss"] for record in records],
        "grad_norms": [record["grad_norm"] for record in records],
        "seconds": [record["seconds"] for record in records],
    }


def _memory(name: str, config: Config, device: str) -> dict[str, Any]:
    if device == "cuda":
        stats = jax.devices()[0].memory_stats() or {}
        peak = stats.get("peak_bytes_in_use") if name == "risjax" else baseline.peak_memory_bytes(device)
        return {"net_bytes": peak}
    return peak_memory(name, config, compile_network=config.compare.compile)


def _map(config: Config, terminal: Terminal) -> dict[str, Any] | None:
    if config.compare.nan_map == "none":
        return None
    loadings = LOADINGS if config.compare.nan_map == "full" else (LOADINGS[1], LOADINGS[-1])
    total = 2 * len(RULES) * len(CASTS) * len(COMPUTE) * len(CUTS) * len(loadings)
    with terminal.progress("NaN map", total=total) as bar:
        return nan_map(loadings=loadings, on_cell=bar.advance)


def _device() -> str:
    jax_device = jax.default_backend()
    torch_device = "gpu" if baseline.has_cuda() else "cpu"
    if jax_device not in ("cpu", "gpu") or (jax_device == "gpu" and torch_device == "cpu"):
        raise CompareError(f"jax runs on {jax_device} and PyTorch sees {torch_device}: install a PyTorch with CUDA, or "
                           "set JAX_PLATFORMS=cpu")  # fmt: skip
    return "cuda" if jax_device == "gpu" else "cpu"


def _refuse(config: Config) -> None:
    if config.precision.loss_matmul == "high":
        raise CompareError("precision.loss_matmul = high has no counterpart in PyTorch; use highest or default")
    if config.train.optimizer != "adamw":
        raise CompareError(f"the baseline trains with adamw, got train.optimizer = {config.train.optimizer}")
    try:
        for part in (ENCODERS[config.model.encoder], *(TERMS[name] for name in loss_settings(config.loss).weights)):
            baseline.torch_place(part)
    except ValueError as error:
        raise CompareError(str(error)) from error


def _versions(device: str) -> dict[str, Any]:
    theirs = baseline.describe_runtime(device)
    return {
        **installed_environment(),
        "jax_device": jax.devices()[0].device_kind,
        "torch": theirs["torch"],
        "torch_device": theirs["device"],
        "torch_threads": theirs["threads"],
        "cuda": theirs["cuda"],
    }
