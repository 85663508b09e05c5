"""``weights``: the trained network of a configuration, and the settings that come with it.

The name of a shipped network (``risjax/inference/weights/<name>``), a folder that the stage ``release`` wrote, or a run
directory: its release where it has one, its best checkpoint otherwise. The network's settings (physics, precision,
model, covariance, estimator) are defaults below the configuration's files and overrides.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from risjax.config.documents import Layer
from risjax.config.errors import KeyPath, Problem, did_you_mean, place_of
from risjax.config.upgrade import replace_deprecated
from risjax.config.yaml12 import read_yaml

RELEASED = Path(__file__).resolve().parents[1] / "inference" / "weights"
"""The networks inside the package, one folder each."""

ALIASES = {"default_dft": "default"}
"""Second names of released networks. ``default_dft`` remains the network that was trained with DFT codes."""

WEIGHTS_NAME = "weights.safetensors"
CONFIG_NAME = "config.yaml"

TRAINING_SECTIONS = frozenset(
    {
        "stages",
        "weights",
        "run",
        "data",
        "loss",
        "train",
        "checks",
        "ablate",
        "compare",
        "debug",
        "design",
        "search",
        "tune",
        "evaluate",
        "simulate",
        "predict",
        "release",
        "export",
    }
)
"""Sections of the training alone; every other section belongs to the network."""


@dataclass(frozen=True)
class TrainedNetwork:
    """Trained parameters on disk.

    Attributes:
        folder: of the release, or the run directory.
        is_released: a release; otherwise the checkpoints of a run.
        config_path: configuration of the training.
    """

    folder: Path
    is_released: bool
    config_path: Path


def released_names() -> list[str]:
    """The names of the networks inside the package."""
    return sorted(path.parent.name for path in RELEASED.glob(f"*/{WEIGHTS_NAME}"))


def find_weights(name: str) -> TrainedNetwork | None:
    """The network that ``name`` means, None where there is none."""
    given, released = Path(name).expanduser(), ALIASES.get(name, name)
    shipped = [RELEASED / released] if released in released_names() else []
    for folder in (*shipped, given, given / "release"):
        if (folder / WEIGHTS_NAME).is_file() and (folder / CONFIG_NAME).is_file():
            return TrainedNetwork(folder, True, folder / CONFIG_NAME)
    if (given / CONFIG_NAME).is_file() and any((given / "checkpoints").glob("epoch_*")):
        chosen = (given / "tune" / "best.yaml", given / "search" / "best.yaml", given / CONFIG_NAME)
        return TrainedNetwork(given, False, next(path for path in chosen if path.is_file()))
    return None


def no_weights_text(name: str) -> str:
    """Error text where `find_weights` returns None."""
    names = released_names()
    known = f"there are {', '.join(names)}" if names else "this installation has none"
    return (
        f"no trained network {name!r}: neither a released one ({known}) nor a folder of Model.save or of the stage "
        f"release, nor a run directory with checkpoints at {Path(name).expanduser().absolute()}"
        f"{did_you_mean(name, names)}"
    )


def lay_below(layer: Layer) -> tuple[Layer, list[Problem]]:
    """``layer`` on top of the settings that its ``weights`` were trained with."""
    name = layer.values.get("weights")
    if not isinstance(name, str):
        return layer, []
    found = find_weights(name)
    if found is None:
        return layer, [Problem("weights", place_of(("weights",), layer.origins), no_weights_text(name))]
    try:
        trained: Any = read_yaml(found.config_path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        text = f"{found.config_path} cannot be read: {' '.join(str(error).split())}"
        return layer, [Problem("weights", place_of(("weights",), layer.origins), text)]
    sections = {name: value for name, value in trained.items() if name not in TRAINING_SECTIONS}
    origins: dict[KeyPath, str] = {(name,): str(found.config_path) for name in sections}
    below = Layer(sections, origins)
    problems = replace_deprecated(below.values, below.origins)
    below.merge(layer)
    return below, problems
