"""Scalars of YAML 1.2, from files and from the command line, and the way back."""

import math

import pytest
import yaml

from risjax.config.io import load_config
from risjax.config.yaml12 import read_value, read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0123", 123),
        ("010", 10),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e-3", 1e-3),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("2024-01-01", "2024-01-01"),
        ("on", "on"),
        ("no", "no"),
        ("TRUE", True),
        ("~", None),
        ("", None),
        ('"0123"', "0123"),
    ],
)
def test_scalars_have_the_types_of_the_core_schema(text: str, value: object) -> None:
    got = read_yaml(text)
    assert (type(got), got) == (type(value), value)
    assert read_value(text) == value


@pytest.mark.parametrize("text", ["/data/run #1/a.npz", "a #", "3 # three", "# not empty"])
def test_nothing_is_cut_from_a_command_line_value(text: str) -> None:
    assert read_value(text) == text.strip()


def test_a_quoted_value_keeps_its_number_sign_and_accepts_none_behind_it() -> None:
    assert read_value('"/data/run #1"') == "/data/run #1"
    with pytest.raises(yaml.YAMLError, match="text after the value"):
        read_value('"/data/run" #1')


def test_what_is_written_is_read_back_with_its_types() -> None:
    texts = ["1e3", "0123", "on", "1:30", "0o17", "", "null", ".5", "a #b", "<<", "=", "é", "2024-01-01", "+1"]
    tree = {"texts": texts, "numbers": [1e-5, 1e300, 0.1, 3, -0.0], "nested": {"yes": True, "none": None}}
    assert read_yaml(write_yaml(tree)) == tree
    assert yaml.safe_load(write_yaml(tree))["texts"] == texts, "programs that read YAML 1.1 see the same text"


def test_command_line_and_file_agree(write) -> None:
    write("a.yaml", "stages: [train]\nrun: {seed: 0123}\ntrain: {epochs: 010}\n")
    from_file = load_config("a.yaml")
    from_command = load_config("a.yaml", ["run.seed=0123", "train.epochs=010", "run.directory=runs/a #1"])
    assert (from_file.run.seed, from_file.train.epochs) == (123, 10)
    assert (from_command.run.seed, from_command.train.epochs) == (123, 10)
    assert from_command.run.directory == "runs/a #1"
