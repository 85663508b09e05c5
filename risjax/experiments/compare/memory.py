"""Peak memory of one framework's training on a CPU, each in a separate process.

It is the peak of the resident memory of a process that does nothing else. Both processes import both libraries. The
peak is taken over the steps after the first ones, which compile, and the memory in use after the imports is
subtracted. Memory that the compiler has not released is included.

    python -m risjax.experiments.compare.memory risjax|pytorch CONFIG.yaml SCENES.npz compile|eager
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from risjax.config import Config
from risjax.config.io import from_yaml, to_yaml
from risjax.experiments import torch_baseline as baseline
from risjax.experiments.compare.paired_training import made_scenes
from risjax.runs.allocator import keep_freed_memory
from risjax.train import Trainer

_STEPS = 3


def peak_memory(framework: str, config: Config, *, compile_network: bool) -> dict[str, Any]:
    """Run a few steps of a configuration in a new process.

    Returns:
        ``{"peak_bytes", "imported_bytes", "net_bytes"}``, or ``{"error": the reason}``.
    """
    with tempfile.TemporaryDirectory() as folder:
        config_path, scenes_path = Path(folder) / "config.yaml", Path(folder) / "scenes.npz"
        config_path.write_text(to_yaml(config), encoding="utf-8")
        tensors = made_scenes(Trainer(config), 0, 2 * _STEPS).tensors
        np.savez(scenes_path, **{name: values.numpy() for name, values in tensors.items()})  # pyright: ignore[reportArgumentType]
        mode = "compile" if compile_network else "eager"
        command = [
            sys.executable,
            "-m",
            "risjax.experiments.compare.memory",
            framework,
            str(config_path),
            str(scenes_path),
            mode,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(framework: str, config_path: str, scenes_path: str, mode: str) -> None:
    """Train a few steps and print the figures as one line of JSON."""
    keep_freed_memory()
    imported = _resident_bytes()
    config = from_yaml(Path(config_path).read_text(encoding="utf-8"))
    if framework == "risjax":
        trainer = Trainer(config)
        state = trainer.init()
        for step in range(2 * _STEPS):
            if step == _STEPS:
                _forget_peak()
            state, _ = trainer.advance(state)
            int(state.step)  # waits
    else:
        with np.load(scenes_path) as file:
            scenes = baseline.MadeScenes({name: file[name] for name in file.files})
        theirs = baseline.Trainer(config, options=baseline.BaselineOptions(compile=mode == "compile"))
        for step, batch in enumerate(baseline.make_loader(scenes, config.train.batch_size)):
            if step == _STEPS:
                _forget_peak()
            theirs.step(batch)
    peak = _peak_bytes()
    print(json.dumps({"peak_bytes": peak, "imported_bytes": imported, "net_bytes": peak - imported}))


def _forget_peak() -> None:
    """Reset the peak of the resident memory to its present value; only Linux can do so."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def _resident_bytes() -> int:
    return _status("VmRSS")


def _peak_bytes() -> int:
    return _status("VmHWM")


def _status(field: str) -> int:
    path = Path("/proc/self/status")
    if not path.exists():  # macOS counts in bytes, and knows the peak alone
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in path.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
