"""Several devices share a batch: four virtual ones of the CPU, in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from risjax.config.errors import ConfigError
from risjax.config.io import apply_overrides
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.train import mesh
from tests.programs import flags_of_devices
from tests.tiny import tiny_config

ROOT = Path(__file__).resolve().parents[2]

# The devices draw the scenes that one would draw, bit by bit, but add their gradients in another order. In float32 that
# is an eps (1.2e-7) of each entry; six steps later the losses still agree to one or two. Half precision rounds
# activations to 8 (bfloat16) or 11 bits: where the last bit of a parameter tips one of them over, the loss moves by
# more, measured 4e-5 and 4e-6. A scene too many, too few or twice would be 1e-2.
RELATIVE = {"float32": 1e-6, "bfloat16": 4e-4, "float16": 4e-5}


def on_four_devices(*arguments: str) -> Any:
    """Output of `tests.train.on_devices`."""
    flags = {"XLA_FLAGS": flags_of_devices(4), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.train.on_devices", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | flags, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "compute", ["float32", *(pytest.param(each, marks=pytest.mark.slow) for each in ("bfloat16", "float16"))]
)
def test_four_devices_train_as_one(compute):
    found = on_four_devices("steps", compute)
    single, four = found["1"], found["4"]
    assert four["last batch"] == single["last batch"]
    assert four["scenes a device"] == [2, 2, 2, 2]
    assert single["scenes a device"] == [8]
    assert four["copies of a parameter"] == 4
    assert four["replicated"]
    assert four["losses"] == pytest.approx(single["losses"], rel=RELATIVE[compute])
    assert four["terms"] == pytest.approx(single["terms"], rel=RELATIVE[compute])
    if compute == "float32":
        in_parts = found["4 in parts"]
        assert in_parts["losses"] == pytest.approx(single["losses"], rel=RELATIVE[compute])
        assert in_parts["terms"] == pytest.approx(single["terms"], rel=RELATIVE[compute])
        assert sum(in_parts["compiled"][1:]) == 0
    assert four["grad_norm"] == pytest.approx(single["grad_norm"], rel=10 * RELATIVE[compute])
    assert len(set(single["losses"])) == len(single["losses"]), "the loss moves, so the comparison says something"
    assert single["compiled"][0] > 0
    assert four["compiled"][0] > 0
    assert sum(four["compiled"][1:]) == 0, "a later step compiled something again"


def test_a_share_of_a_batch_equals_its_scenes_in_the_whole():
    config = tiny_config()
    draw = jax.jit(lambda first, size: scene_batch(config.physics, 0, Purpose.TRAIN_SCENES, 3, size, first=first),
                   static_argnums=1)  # fmt: skip
    whole, share = draw(jnp.asarray(0), 8), draw(jnp.asarray(4), 2)
    assert jnp.array_equal(share.observation.snapshots, whole.observation.snapshots[4:6])
    assert not jnp.array_equal(share.observation.snapshots, whole.observation.snapshots[:2])


@pytest.mark.slow
def test_a_training_resumes_on_another_number_of_devices(tmp_path):
    found = on_four_devices("resume", str(tmp_path))
    assert [step for step, _ in found["broken"]] == list(range(18)) == [step for step, _ in found["whole"]]
    losses = {name: [loss for _, loss in lines] for name, lines in found.items()}
    assert losses["broken"] == pytest.approx(losses["whole"], rel=RELATIVE["float32"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"train.devices": 3},
            r"devices must divide batch_size, got a batch of 4 for 3 devices; try devices = 2 or batch",
        ),
        (
            {"train.devices": 4, "train.batch_size": 6},
            "got a batch of 6 for 4 devices; try devices = 3 or batch_size = 8",
        ),
    ],
)
def test_a_batch_that_devices_do_not_divide_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        apply_overrides(tiny_config(), changes)


def test_more_devices_than_available_are_refused():
    with pytest.raises(ConfigError, match=r"train\.devices\n.*got 2, expected at most 1, the devices of this machine"):
        mesh.make_mesh(tiny_config(train__devices=2).train)


@pytest.mark.parametrize(("batch", "expected"), [(8, 4), (6, 3), (7, 1), (2, 2), (64, 4)])
def test_without_a_number_the_most_devices_that_divide_the_batch_train(batch, expected):
    assert mesh._count(tiny_config(train__batch_size=batch).train, jax.devices()[:1] * 4) == expected
