"""Loading: files, bases, profiles, overrides, and the way back to YAML."""

import subprocess
import sys

import pytest

from risjax.config import Config, RunConfig
from risjax.config import documents as documents_module
from risjax.config.errors import ConfigError
from risjax.config.io import apply_overrides, differences, from_yaml, load_config, to_yaml

MINIMAL = "stages: [train]\n"


def test_defaults_fill_what_a_file_leaves_out_and_name_the_directory(write):
    write("mine.yaml", MINIMAL)
    config = load_config("mine.yaml")
    assert config == Config(stages=("train",), run=RunConfig(directory="runs/mine"))
    assert load_config("mine") == config, "the suffix may be left out"


def test_a_number_in_exponent_notation_is_a_number(write):
    write("a.yaml", MINIMAL + "train: {learning_rate: 1e-3}\n")
    assert load_config("a.yaml").train.learning_rate == 1e-3
    assert load_config("a.yaml", ["train.learning_rate=2e-4"]).train.learning_rate == 2e-4


def test_bases_are_merged_in_order_and_the_file_overrides_them(write):
    write("deep/ground.yaml", MINIMAL + "train: {epochs: 1, batch_size: 2}\nmodel: {layers: 1}\n")
    write("deep/one.yaml", "base: ground.yaml\ntrain: {epochs: 2}\n")
    write("two.yaml", "train: {epochs: 3, steps_per_epoch: 7}\n")
    write("top.yaml", "base: [deep/one.yaml, two.yaml]\nmodel: {layers: 9}\n")
    config = load_config("top.yaml")
    assert (config.train.epochs, config.train.batch_size, config.train.steps_per_epoch) == (3, 2, 7)
    assert config.model.layers == 9


def test_lists_and_the_search_space_are_replaced_whole(write):
    write("ground.yaml", MINIMAL + "search: {space: {train.learning_rate: {uniform: [1e-4, 1e-2]}}}\n")
    write("top.yaml", "base: ground.yaml\nstages: [search]\nsearch: {space: {model.width: {choice: [64, 128]}}}\n")
    config = load_config("top.yaml")
    assert config.stages == ("search",)
    assert list(config.search.space) == ["model.width"]
    config = load_config("top.yaml", ["search.space={train.weight_decay: {log_uniform: [1e-5, 1e-2]}}"])
    assert list(config.search.space) == ["train.weight_decay"]


@pytest.fixture
def profiles(write, tmp_path, monkeypatch):
    monkeypatch.setattr(documents_module, "SHIPPED", tmp_path / "configs")
    write("configs/physics/flat.yaml", "array: {wavefront: paraxial}\nscene: {max_sources: 2, num_sources: [1, 2]}\n")
    return write


def test_a_profile_is_the_whole_section_and_may_be_changed(profiles):
    profiles("ground.yaml", MINIMAL + "physics: {array: {num_vertical: 6}}\n")
    profiles("top.yaml", "base: ground.yaml\nphysics: flat\n")
    physics = load_config("top.yaml").physics
    assert (physics.array.wavefront, physics.scene.max_sources) == ("paraxial", 2)
    assert physics.array.num_vertical == 12, "what the base said of physics is gone"
    profiles("change.yaml", MINIMAL + "physics: {base: flat, array: {num_vertical: 4}}\n")
    physics = load_config("change.yaml").physics
    assert (physics.array.wavefront, physics.array.num_vertical) == ("paraxial", 4)
    profiles("derived.yaml", "base: top.yaml\nphysics: {array: {num_vertical: 6}}\n")
    physics = load_config("derived.yaml").physics
    assert (physics.array.wavefront, physics.array.num_vertical) == ("paraxial", 6)


def test_a_profile_replaces_through_a_chain_of_bases(profiles):
    profiles("ground.yaml", MINIMAL + "physics: {array: {num_vertical: 6}}\n")
    profiles("middle.yaml", "physics: flat\n")
    profiles("top.yaml", "base: [ground.yaml, middle.yaml]\n")
    assert load_config("top.yaml").physics.array.num_vertical == 12


def test_profiles_in_overrides_and_in_sources(profiles):
    sources = "evaluate: {sources: [{name: a}, {name: b, physics: flat}]}\n"
    profiles("a.yaml", MINIMAL + sources)
    config = load_config("a.yaml", ["physics=flat", "physics.array.num_vertical=4"])
    assert (config.physics.array.wavefront, config.physics.array.num_vertical) == ("paraxial", 4)
    physics = config.evaluate.sources[1].physics
    assert physics is not None
    assert physics.array.wavefront == "paraxial"


def test_lists_are_overridden_whole_or_by_index(write):
    write("a.yaml", MINIMAL + "evaluate: {sources: [{name: a}, {name: b}]}\n")
    overrides = ["stages=[search, train]", "evaluate.sources[1].scenes=7", "evaluate.sources.0.scenes=8"]
    config = load_config("a.yaml", overrides)
    assert config.stages == ("search", "train")
    assert [source.scenes for source in config.evaluate.sources] == [8, 7]


def test_the_last_of_two_overrides_applies(write):
    write("a.yaml", MINIMAL)
    assert load_config("a.yaml", ["train.epochs=3", "train.epochs=5"]).train.epochs == 5


def test_a_bare_name_is_searched_in_the_working_directory_then_among_the_shipped(profiles):
    profiles("configs/known.yaml", MINIMAL + "train: {epochs: 3}\n")
    assert load_config("known.yaml").train.epochs == 3
    profiles("known.yaml", MINIMAL + "train: {epochs: 4}\n")
    assert load_config("known.yaml").train.epochs == 4


def test_relative_input_files_are_found_beside_the_shipped_configs(profiles, tmp_path, monkeypatch):
    profiles("configs/known.yaml", MINIMAL + "evaluate: {sources: [{name: a, path: data/scenes.npz}]}\n")
    profiles("data/scenes.npz", "")
    assert load_config("known.yaml").evaluate.sources[0].path == "data/scenes.npz"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_config("known.yaml").evaluate.sources[0].path == str(tmp_path / "data/scenes.npz")


def test_apply_overrides_makes_a_new_validated_config():
    config = Config(stages=("train",))
    changed = apply_overrides(config, {"train.learning_rate": 3e-4, "model.width": 64, "stages": ("search",)})
    assert (changed.train.learning_rate, changed.model.width, changed.stages) == (3e-4, 64, ("search",))
    assert config.model.width == 128
    with pytest.raises(ConfigError, match="heads must divide width"):
        apply_overrides(config, {"model.width": 126})


def test_yaml_round_trip(write):
    space = "search: {space: {train.learning_rate: {log_uniform: [1e-5, 1e-2]}, model.width: {choice: [64, 128]}}}\n"
    write("a.yaml", MINIMAL + space + "physics: {codebook: {phase_bits: null}}\n")
    config = load_config("a.yaml")
    assert from_yaml(to_yaml(config)) == config
    write("b.yaml", to_yaml(config))
    assert load_config("b.yaml") == config


def test_differences_name_the_settings():
    a = Config(stages=("train",))
    b = apply_overrides(a, {"train.epochs": 3, "stages": ["search"], "search.space": {"model.width": {"choice": [64]}}})
    assert differences(a, a) == {}
    assert differences(a, b) == {
        "stages": (["train"], ["search"]),
        "train.epochs": (12, 3),
        "search.space": ({}, None),
        "search.space.model.width.choice": (None, [64]),
    }


def test_configs_load_without_jax():
    code = "import sys, risjax.config.io, risjax.cli; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_a_term_of_the_loss_without_a_weight_has_the_default_of_that_term():
    loss = from_yaml("stages: [train]\nloss: {projector: {}, alignment: {loading: 0.2}}\n").loss
    assert (loss.covariance.weight, loss.projector.weight, loss.alignment.weight) == (1.0, 0.5, 0.0)
    assert loss.alignment.loading == 0.2
