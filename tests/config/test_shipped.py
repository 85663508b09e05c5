"""Every shipped YAML validates, contains its command, and has the settings that its name promises."""

from pathlib import Path

import pytest
import yaml

from risjax.config.documents import SHIPPED
from risjax.config.io import differences, from_yaml, load_config, to_yaml
from risjax.config.weights import released_names


def _case(path: Path):
    """A configuration, skipped where the network that it names is not in this checkout."""
    name = yaml.safe_load(path.read_text()).get("weights")
    absent = name is not None and name not in released_names()
    reason = f"the released network {name!r} is not in this checkout"
    return pytest.param(path, marks=pytest.mark.skip(reason=reason)) if absent else path


CONFIGS = [_case(path) for path in sorted(SHIPPED.glob("*.yaml"))]
PROFILES = sorted((SHIPPED / "physics").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_shipped_config_validates_and_survives_its_yaml(path: Path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # found by its bare name from anywhere, its data files too
    config = load_config(path.name)
    assert from_yaml(to_yaml(config)) == config
    assert config.run.directory == f"runs/{path.stem}"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_header_contains_the_command(path: Path):
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"python run.py --config {path.name}" in header


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_config_contains_only_differences(path: Path):
    written = yaml.safe_load(path.read_text())
    base = written.pop("base", None)
    if base is None:
        return
    inherited = load_config(str(SHIPPED / base))
    changed = differences(inherited, load_config(path.name))
    for section in written:
        assert any(name.split(".")[0].split("[")[0] == section for name in changed), f"{section} repeats its base"


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.name)
def test_a_profile_validates(path: Path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load_config("base.yaml", [f"physics={path.stem}"]).physics


def test_quick_uses_one_manifold_at_full_difficulty():
    config = load_config("quick.yaml")
    original = load_config("base.yaml", ["physics=original"]).physics
    assert config.physics == original
    assert all(source.physics in (None, original) for source in config.evaluate.sources)
    assert (config.physics.scene.num_sources, config.physics.scene.snr_db) == ((1, 5), (-5.0, 20.0))
    assert (config.search.trials, config.precision.compute) == (3, "bfloat16")


def test_wide_and_narrow_search_their_documented_spaces():
    wide, narrow = load_config("wide.yaml"), load_config("narrow.yaml")
    steps = wide.search.steps_per_epoch or wide.train.steps_per_epoch
    assert (wide.search.trials, wide.search.epochs, steps, wide.train.batch_size) == (50, 12, 100, 64)
    assert wide.train.epochs == 100
    assert set(narrow.search.space) != set(wide.search.space)
    shared = set(narrow.search.space) & set(wide.search.space)
    assert all(narrow.search.space[name] != wide.search.space[name] for name in shared)


def test_verify_is_one_trial_of_one_epoch_of_the_wide_space():
    verify = load_config("verify.yaml")
    assert (verify.search.trials, verify.search.epochs, verify.train.epochs) == (1, 1, 1)
    assert verify.search.space == load_config("wide.yaml").search.space
    assert verify.stages[-1] == "verify"
