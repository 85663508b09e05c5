"""Errors of a configuration: all at once, each with its place."""

import pytest

from risjax.config.errors import ConfigError
from risjax.config.io import load_config

MINIMAL = "stages: [train]\n"


def complaint(name, overrides=()):
    with pytest.raises(ConfigError) as caught:
        load_config(name, overrides)
    return str(caught.value)


def test_all_problems_at_once_with_place_got_expected_and_hint(write):
    write(
        "bad.yaml",
        "stages: [train]\n"
        "model:\n"
        "  width: wide\n"
        "  widht: 64\n"
        "precision: {compute: bflaot16}\n"
        "physics: {scene: {range_m: [10, 0.5]}}\n",
    )
    text = complaint("bad.yaml", ["train.lr=3", "train.epochs=3.0"])
    assert text.splitlines() == [
        "6 problems in the configuration",
        "  physics.scene  [bad.yaml:6]",
        "      range_m must be [low, high] with low < high, got [10.0, 0.5]; swap the two?",
        "  precision.compute  [bad.yaml:5]",
        "      got 'bflaot16' (text), expected 'bfloat16', 'float16', 'float32' or 'float64'; did you mean bfloat16?",
        "  model.width  [bad.yaml:3]",
        "      got 'wide' (text), expected an integer",
        "  model.widht  [bad.yaml:4]",
        "      unknown setting; did you mean model.width?",
        "  train.epochs  [train.epochs=3.0]",
        "      got 3.0, expected an integer",
        "  train.lr  [train.lr=3]",
        "      unknown setting; did you mean train.learning_rate?",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.epochs=true", "got true, expected an integer"),
        ("train.epochs='3'", "got '3' (text), expected an integer"),
        ("train.epochs=0", "got 0, expected >= 1"),
        ("train.learning_rate=.nan", "got nan, expected a finite number"),
        ("train.learning_rate=null", "got null, expected a number"),
        ("checks.finite=1", "got 1, expected true or false"),
        ("stages=[]", "got [], expected at least 1 of them"),
        ("stages=[trian]", "did you mean train?"),
        ("stages=train", "got 'train' (text), expected a list, as in [train]"),
        ("train=3", "got 3, expected a section"),
        ("train.dataset_scenes=100", "dataset_scenes must be whole batches, got 100 scenes in batches of 64; try 128"),
        ("model.heads=3", "heads must divide width, got width = 128 and heads = 3; try heads = 2"),
        ("physics.scene.max_sources=300", "* num_antennas = 256 complex measurements, which carry 102 at most"),
        ("width=64", "did you mean model.width?"),
        ("optimizer.learning_rate=1", "unknown setting"),
        ("trian.epochs=3", "did you mean train?"),
        ("model.learning_rate=3", "did you mean train.learning_rate"),
        ("evaluate.sources[0].scense=4", "did you mean evaluate.sources[0].scenes?"),
        ("evaluate.sources[3].name=a", "evaluate.sources has 1 entries, so its last index is 0; got 3"),
        ("evaluate.sources=[{name: a, path: gone.npz}]", "no such file; looked for"),
        ("train.epochs.x=1", "train.epochs is a plain value and has no settings below it"),
        ("train.epochs", "expected section.key=value"),
        ("=3", "expected section.key=value"),
        ("train..epochs=3", "expected section.key=value"),
        ("train.epochs=[1,", "the value is not valid YAML"),
        ("train.epochs=${model.width}", "interpolation (${...}) is not supported"),
        ("search.storage=postgresql://ada:***@host/db", "the password was never stored"),
    ],
)
def test_one_bad_override(write, override, expected):
    write("a.yaml", "stages: [train]\ntrain: {epochs: 2}\n")
    text = complaint("a.yaml", [override])
    assert expected in text
    assert f"[{override}]" in text, "the override itself is named"


@pytest.mark.parametrize("stage", ["search", "train", "audit", "verify"])
def test_learning_from_images_needs_one_field_in_all_snapshots(write, stage):
    write("a.yaml", f"stages: [simulate, {stage}]\n")
    text = complaint("a.yaml", ["physics.scene.symbols=per_snapshot"])
    assert "  physics.scene.symbols  [physics.scene.symbols=per_snapshot]\n" in text, "place and origin"
    assert f"got per_snapshot, expected constant: model.encoder = backprojection, of the stages {stage}," in text


def test_stages_without_training_accept_per_snapshot_symbols(write):
    write("a.yaml", "stages: [simulate, evaluate, report]\n")
    assert load_config("a.yaml", ["physics.scene.symbols=per_snapshot"]).physics.scene.symbols == "per_snapshot"


def test_a_duplicate_key_is_reported_with_its_line(write):
    write("a.yaml", MINIMAL + "train:\n  epochs: 1\n  batch_size: 2\n  epochs: 3\n")
    assert "a.yaml:5" in complaint("a.yaml")
    assert "duplicate key epochs" in complaint("a.yaml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("stages: [train\n", "is not valid YAML"),
        ("- train\n", "expected settings of the form"),
        ("hello\n", "expected settings of the form"),
        ("", "stages\n      is required, and nothing sets it"),
        ("stages: [train]\ntrain: {3: 1}\n", "got the key 3, expected a name"),
        ("stages: [train]\ntrain: {on: 1}\n", "train.on  [a.yaml:2]\n      unknown setting"),
        ("stages: [train]\ntrain: {epochs: 1:30}\n", "got '1:30' (text), expected an integer"),
        ("stages: [train]\nrun: {directory: '${oc.env:HOME}'}\n", "interpolation (${...}) is not supported"),
        ("stages: [train]\nbase: gone.yaml\n", "no such file: 'gone.yaml'; looked in"),
        ("stages: [train]\nbase: [3]\n", "expected a file name or a list of file names"),
        ("stages: [train]\nphysics: gone\n", "no such profile: 'gone'"),
        ("stages: [train]\nbase: a.yaml\n", "circular base: a.yaml -> a.yaml"),
        ("stages: &x [*x]\n", "is not valid YAML"),
        ("stages: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
        ("stages: [\x00]\n", "is not valid YAML"),
    ],
)
def test_one_bad_file(write, content, expected):
    write("a.yaml", content)
    assert expected in complaint("a.yaml")


def test_a_circular_base_through_several_files_is_refused(write):
    write("a.yaml", MINIMAL + "base: b.yaml\n")
    write("b.yaml", "base: c.yaml\n")
    write("c.yaml", "base: b.yaml\n")
    assert "circular base: b.yaml -> c.yaml -> b.yaml" in complaint("a.yaml")


def test_a_missing_file_is_reported_with_the_places_searched(write, tmp_path):
    write("mine.yaml", MINIMAL)
    text = complaint("gone.yaml")
    assert f"looked for {tmp_path}/gone.yaml and " in text
    assert "configs/gone.yaml" in text


def test_a_binary_file_is_refused(write, tmp_path):
    write("a.yaml", "")
    (tmp_path / "a.yaml").write_bytes(b"stages: [\xff\xfe]")
    assert "is not valid UTF-8 (byte 9)" in complaint("a.yaml")


def test_problems_of_files_and_of_values_are_reported_together(write):
    write("a.yaml", "base: gone.yaml\ntrain: {epochs: none}\n")
    text = complaint("a.yaml", ["nonsense"])
    assert "3 problems" in text, "a missing base, a bad override, a bad value; what the base would set is not missing"


def test_the_place_of_a_value_from_a_base_is_the_base(write):
    write("ground.yaml", MINIMAL + "train:\n  epochs: 0\n")
    write("a.yaml", "base: ground.yaml\n")
    assert "[ground.yaml:3]" in complaint("a.yaml")


@pytest.mark.parametrize(
    ("overrides", "place", "expected"),
    [
        (["model.patch=5"], "model.patch", "got 5 for a surface of 12 x 12 elements, expected a divisor of both sides"),
        (
            ["physics.array.num_horizontal=14", "physics.array.num_vertical=10", "model.patch=3"],
            "model.patch",
            "got 3 for a surface of 14 x 10 elements, expected a divisor of both sides; try 1 or 2",
        ),
        (
            ["physics.codebook.num_snapshots=9"],
            "physics.codebook.num_snapshots",
            "got num_snapshots * num_antennas = 9 * 16 = 144 measurements, expected more than the 144 elements",
        ),
        (["precision.initial_loss_scale=1e39"], "precision.initial_loss_scale", "got 1e+39, expected <= 1.70141e+38"),
    ],
)
def test_a_network_that_cannot_be_built_is_a_configuration_error(write, overrides, place, expected):
    write("a.yaml", MINIMAL)
    text = complaint("a.yaml", overrides)
    assert f"\n  {place}  [" in text
    assert expected in text


def test_a_stage_without_a_network_accepts_any_patch_and_few_snapshots(write):
    write("a.yaml", "stages: [simulate]\n")
    overrides = ["model.patch=5", "physics.codebook.num_snapshots=4"]
    assert load_config("a.yaml", overrides).physics.codebook.num_snapshots == 4


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.epochs=1:30", "got '1:30' (text), expected an integer"),
        ("train.epochs=1_000", "got '1_000' (text), expected an integer"),
        ("train.epochs=3 # three", "got '3 # three' (text), expected an integer"),
        ("stages=[train] # one", "text after the value: # one"),
        ("checks.finite=on", "got 'on' (text), expected true or false"),
    ],
)
def test_a_value_is_read_as_yaml_1_2_or_refused(write, override, expected):
    write("a.yaml", MINIMAL)
    assert expected in complaint("a.yaml", [override])


def test_a_rule_between_sections_names_a_setting_at_its_default_by_its_whole_path(write):
    write("a.yaml", MINIMAL)
    assert "\n  model.patch\n" in complaint("a.yaml", ["physics.array.num_vertical=3"])
