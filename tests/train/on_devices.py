"""One and four devices at the same training, for test_devices.py; prints JSON.

XLA_FLAGS=--xla_force_host_platform_device_count=4 python -m tests.train.on_devices steps COMPUTE
XLA_FLAGS=--xla_force_host_platform_device_count=4 python -m tests.train.on_devices resume FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from risjax.checks import wait_for_checks
from risjax.config import Config
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train import Trainer, train
from risjax.train.mesh import make_mesh
from tests.tiny import tiny_config

STEPS = 6


def config_of(compute: str, **overrides: Any) -> Config:
    """A tiny training whose eight scenes a batch four devices can share, two each."""
    return tiny_config(train__batch_size=8, precision__compute=compute, **overrides)


def take_steps(config: Config, compilations: list[str]) -> dict[str, Any]:
    """The losses of a few steps, what was compiled in each, where the arrays lie."""
    trainer = Trainer(config, make_mesh(config.train))
    state, infos, compiled = trainer.init(), [], []
    snapshots = trainer.draw(state.step).observation.snapshots
    for _ in range(STEPS):
        before = len(compilations)
        snapshots = trainer.draw(state.step).observation.snapshots
        state, info = trainer.advance(state)
        wait_for_checks()
        compiled.append(len(compilations) - before)
        infos.append(info)
    return {
        "losses": [float(info.loss) for info in infos],
        "grad_norm": float(infos[-1].grad_norm_backbone),
        "terms": {name: float(value) for name, value in infos[-1].terms.items()},
        "compiled": compiled,
        "last batch": np.asarray(snapshots).view(np.float32).tolist(),
        "scenes a device": [shard.data.shape[0] for shard in snapshots.addressable_shards],
        "copies of a parameter": len(jax.tree.leaves(state.params)[0].addressable_shards),
        "replicated": all(leaf.is_fully_replicated for leaf in jax.tree.leaves(state)),
    }


def steps(compute: str) -> dict[str, Any]:
    compilations: list[str] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            compilations.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    found = {devices: take_steps(config_of(compute, train__devices=int(devices)), compilations) for devices in "14"}
    if compute == "float32":
        in_parts = config_of(compute, train__devices=4, train__accumulation=2)
        found["4 in parts"] = take_steps(in_parts, compilations)
    return found


class Killed(Exception):
    """Stands for a kill after an epoch."""


def resume(folder: str) -> dict[str, Any]:
    """Three epochs on one device; one on four, the second on two, the third on one."""
    whole, broken = RunDirectory(Path(folder) / "whole"), RunDirectory(Path(folder) / "broken")
    quiet = Terminal(quiet=True)

    def die(record: dict[str, Any]) -> None:
        raise Killed

    train(config_of("float32", train__epochs=3, train__devices=1), whole, quiet)
    for devices in (4, 2):
        try:
            train(config_of("float32", train__epochs=3, train__devices=devices), broken, quiet, on_epoch=die)
        except Killed:
            continue
    train(config_of("float32", train__epochs=3, train__devices=1), broken, quiet)
    return {
        name: [[line["step"], line["loss"]] for line in directory.read_log("step")]
        for name, directory in (("whole", whole), ("broken", broken))
    }


if __name__ == "__main__":
    print(json.dumps({"steps": steps, "resume": resume}[sys.argv[1]](sys.argv[2])))
