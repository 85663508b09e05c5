"""One untrained tiny network, released once, and measurements for it."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import Config
from risjax.data.stream import scene_batch
from risjax.inference.predict import Model, batches, load
from risjax.keys import Purpose
from risjax.types import Scene
from tests.inference.released import tiny_release

EASY: dict[str, Any] = {"physics__scene__snr_db": [15.0, 20.0], "physics__scene__range_m": [0.5, 3.0]}


class Setting(NamedTuple):
    """A release, its configuration, the loaded model and 9 scenes."""

    folder: Path
    config: Config
    model: Model
    scenes: Scene

    def arrays(self) -> dict[str, Any]:
        """The scenes as a file holds them; writable."""
        return {
            name: np.array(array) for name, array in self.scenes.observation._asdict().items() if name != "geometry"
        }


@pytest.fixture(autouse=True)
def one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of four everywhere: one program to compile."""
    monkeypatch.setattr(batches, "MOST_SCENES", 4)


@pytest.fixture(scope="session")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder, config = tiny_release(tmp_path_factory.mktemp("released"), **EASY)
    scenes = jax.device_get(
        jax.jit(lambda index: scene_batch(config.physics, 0, Purpose.TEST_SCENES, index, 9))(jnp.asarray(0))
    )
    return Setting(folder, config, load(folder), scenes)
