"""The networks inside the package: small, complete, and as accurate as their cards state."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import risjax
from risjax import cli
from risjax.config.io import from_yaml
from risjax.config.weights import RELEASED, find_weights, released_names
from risjax.data.files import read_scenes
from risjax.inference.predict import load
from risjax.inference.release.card import make_card

REPOSITORY = Path(risjax.__file__).resolve().parents[1]
NAMES = released_names() or [pytest.param("", marks=pytest.mark.skip(reason="no released network in this checkout"))]


@pytest.mark.parametrize("name", NAMES)
def test_a_released_network_is_small_complete_and_loads(name: str) -> None:
    folder = RELEASED / name
    assert {path.name for path in folder.iterdir()} == {"weights.safetensors", "config.yaml", "card.md", "metrics.json"}
    assert (folder / "weights.safetensors").stat().st_size <= 5_000_000
    assert from_yaml((folder / "config.yaml").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    overall = next(iter(metrics["sources"].values()))["methods"]["learned_ml"]["overall"]
    assert overall["f1_3d"]["low"] <= overall["f1_3d"]["value"] <= overall["f1_3d"]["high"]
    card = (folder / "card.md").read_text()
    for heading in ("Network", "Data", "Training", "Accuracy", "Limits"):
        assert f"## {heading}" in card
    assert card.startswith(f"# {name}\n")
    for absent in ("Not evaluated", "not logged", "wall time | 0 s"):
        assert absent not in card, absent
    assert load(name).config.weights == name


def test_the_network_of_the_dft_codes_has_a_name_that_states_them() -> None:
    model, found = load("default_dft"), find_weights("default_dft")
    assert model.config.physics.codebook.kind == "dft"
    assert found is not None
    assert "`dft` codes" in (found.folder / "card.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_accuracy_of_a_card_is_the_one_that_its_metrics_generate(name: str) -> None:
    folder, model = RELEASED / name, load(name)
    metrics = json.loads((folder / "metrics.json").read_text())
    made = make_card(name, model.config, [], None, metrics, folder / "weights.safetensors", model.params)
    assert _accuracy(model.card) == _accuracy(made)
    assert "| mvdr |" in _accuracy(model.card)


def _accuracy(card: str) -> str:
    return card.split("\n## Accuracy\n")[1].split("\n## ")[0]


@pytest.mark.slow
@pytest.mark.skipif("original" not in released_names(), reason="the network `original` is not in this checkout")
def test_predicting_on_the_originals_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["--config", "predict.yaml", "--quiet"]) == 0
    truth = read_scenes(REPOSITORY / "data/original/scenes.npz").sources
    assert truth is not None
    with (tmp_path / "runs/predict/sources.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = np.array([[float(row[name]) for name in ("scene", "azimuth_deg", "elevation_deg")] for row in rows])
    hits = 0
    for scene, (position, active) in enumerate(zip(truth.position, truth.active, strict=True)):
        reported = found[found[:, 0] == scene, 1:]
        for direction in np.degrees(position[active][:, :2]):
            hits += bool((np.abs(reported - direction) < 5).all(axis=1).any())
    assert hits / truth.active.sum() > 0.7, "recall in angle"
    assert hits / len(rows) > 0.7, "precision in angle"
