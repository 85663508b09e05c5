"""Parts that compare: no TF32 in the loss, the exported file on both devices, the tests that need a GPU."""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.gpu.configs import resized, trained_model
from benchmarks.gpu.parts import NotMeasured, figure
from benchmarks.training_step import median_seconds
from risjax.config import Config
from risjax.config.io import apply_overrides, load_config
from risjax.data.stream import scene_batch
from risjax.inference.export import PROGRAM_NAME, export_pipeline
from risjax.keys import Purpose
from risjax.loss import loss_settings, make_labels, total_loss
from risjax.model import make_inputs
from risjax.runs.environment import installed_environment
from risjax.train import Trainer
from risjax.types import Prediction

ROOT = Path(__file__).resolve().parents[2]


def machine(*, rehearse: bool) -> Iterator[dict[str, Any]]:
    """Device, its memory, and versions.

    Raises:
        NotMeasured: jax sees no GPU, and this is no rehearsal.
    """
    device = jax.devices()[0]
    if device.platform != "gpu" and not rehearse:
        raise NotMeasured(f"no CUDA device: jax runs on {device.platform}")
    found: dict[str, Any] = {"device": device.device_kind, "memory_bytes": memory_bytes(device)}
    for package in ("torch", "jax-cuda12-plugin", "jax-cuda13-plugin"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    yield found | installed_environment()


def memory_bytes(device: jax.Device) -> int | None:
    """The most memory that a device gives to this process; None where it does not say (a CPU)."""
    return (device.memory_stats() or {}).get("bytes_limit")


def precision(*, rehearse: bool) -> Iterator[dict[str, Any]]:
    """The loss and its gradient on this device against the CPU's."""
    config = resized(load_config("quick"), rehearse=rehearse, train__batch_size=4 if rehearse else 16)
    labels, prediction = _loss_inputs(config)
    exact, exact_gradient = _loss(config, labels, prediction, jax.devices("cpu")[0])
    for loss_matmul in ("highest", "default"):
        changed = apply_overrides(config, {"precision.loss_matmul": loss_matmul})
        value, gradient = _loss(changed, labels, prediction, jax.devices()[0])
        distance = np.linalg.norm(gradient - exact_gradient) / np.linalg.norm(exact_gradient)
        # TF32 has 10 bits: about 5e-4.
        goals = ({"at_most": 1e-5}, {"at_most": 5e-5}) if loss_matmul == "highest" else ({}, {})
        yield figure(f"relative error of the loss, {loss_matmul}", abs(value - exact) / abs(exact), **goals[0])
        yield figure(f"relative error of its gradient, {loss_matmul}", distance, **goals[1])


def _loss_inputs(config: Config) -> tuple[Any, Prediction]:
    """Labels of a batch and the prediction of the untrained network, made on the CPU."""
    with jax.default_device(jax.devices("cpu")[0]):
        trainer = Trainer(apply_overrides(config, {"precision.compute": "float32"}))
        state = trainer.init()
        scenes = trainer.draw(state.step)
        inputs = jax.jit(jax.vmap(lambda seen: make_inputs(seen, config.model, config.physics)))(scenes.observation)
        labels = make_labels(scenes, inputs.sample_factor)
        return labels, jax.jit(trainer.program.network.apply)(state.params, inputs.features)


def _loss(config: Config, labels: Any, prediction: Prediction, device: jax.Device) -> tuple[float, np.ndarray]:
    def loss(prediction: Prediction, labels: Any) -> jax.Array:
        terms = loss_settings(config.loss)
        return total_loss(prediction, labels, terms, config.covariance, config.precision).total

    arguments = jax.device_put(jax.device_get((prediction, labels)), device)
    value, gradient = jax.jit(jax.value_and_grad(loss))(*arguments)
    return float(value), np.concatenate([np.ravel(jax.device_get(leaf)) for leaf in jax.tree.leaves(gradient)])


def exported(*, rehearse: bool) -> Iterator[dict[str, Any]]:
    """The exported pipeline on this device and on the CPU: sources found by both, their distance, scenes a second."""
    model, count = trained_model(rehearse=rehearse), 4 if rehearse else 64
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.zip"
        export_pipeline(model, path)
        program = zipfile.ZipFile(path).read(PROGRAM_NAME)
    yield figure("size of the program", len(program) / 2**20, "MiB")
    pipeline = jax.jit(jax.export.deserialize(bytearray(program)).call)
    draw = jax.jit(lambda: scene_batch(model.config.physics, 0, Purpose.TEST_SCENES, 0, count).observation)
    scenes = jax.device_get(draw())[:3]
    here, cpu = (jax.device_put(scenes, device) for device in (jax.devices()[0], jax.devices("cpu")[0]))
    seconds = median_seconds(lambda: jax.block_until_ready(pipeline(*here)))
    yield figure(f"scenes a second, batch {count}", count / seconds)
    found, expected = jax.device_get(pipeline(*here)), jax.device_get(pipeline(*cpu))
    same = (found["active"] == expected["active"]).all(axis=1)
    # The network runs in bfloat16: where two candidates are as likely, another one may win.
    yield figure("scenes with as many sources as on the CPU", 100 * same.mean(), "%", at_least=90)
    distance = np.abs(found["position"] - expected["position"])[same].max(axis=(1, 2), initial=0)
    yield figure("median over these of the largest difference of a coordinate", np.median(distance), "rad or m")


def tests(*, rehearse: bool) -> Iterator[dict[str, Any]]:
    """Tests that need a GPU, from the files that have such tests.

    Raises:
        NotMeasured: pytest, or a plugin that the project's options name, is not installed.
    """
    for needed in ("pytest", "xdist", "pytest_timeout", "beartype"):
        if find_spec(needed) is None:
            raise NotMeasured(f"no {needed}: pip install -e '.[test]'")
    files = [str(path) for path in sorted(ROOT.glob("tests/**/test_*.py")) if "@pytest.mark.gpu" in path.read_text()]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-n", "0", f"--junitxml={report}", *files]
        subprocess.run(command, cwd=ROOT, check=False)
        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    bad = [
        case.attrib["name"]
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    yield figure("tests that failed", counts["failures"] + counts["errors"], at_most=0, names=bad)
    yield figure("tests that were skipped", counts["skipped"], **({} if rehearse else {"at_most": 0}))
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    yield figure("tests that passed", passed, **({} if rehearse else {"at_least": 1}))
