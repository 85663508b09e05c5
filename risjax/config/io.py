"""Conversion of a YAML file and overrides to a validated `Config`, and back.

`ConfigError` reports every problem at once; nothing is written. Types are strict: text is not accepted as a number, a
number not as text, 3.0 not as an integer. A valid configuration is complete: every default is filled in, bases and
profiles are resolved, ``run.directory`` is set, and the input files that it names exist.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from risjax.config import documents
from risjax.config.documents import Layer, Reader
from risjax.config.errors import ConfigError, KeyPath, Problem, dotted, place_of, schema_problems
from risjax.config.overrides import parse_overrides, set_values
from risjax.config.physics import PhysicsConfig
from risjax.config.root import Config
from risjax.config.secrets import is_masked, mask_tree
from risjax.config.upgrade import replace_deprecated
from risjax.config.weights import lay_below
from risjax.config.yaml12 import read_yaml, write_yaml
from risjax.registry import Section

SectionType = TypeVar("SectionType", bound=Section)


def load_config(name_or_path: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration that a command line means.

    Args:
        name_or_path: a YAML file; a bare name is looked up in the working directory, then in ``configs/``.
        overrides: ``section.key=value``, applied last and in order. A list is set whole
            (``stages=[audit]``) or by index (``evaluate.sources[0].scenes=10``).

    Returns:
        The validated configuration, with the defaults of what neither file nor overrides set.

    Raises:
        ConfigError: with every problem.

    Example:
        >>> load_config("quick.yaml", ["train.epochs=3", "physics=original"]).train.epochs
        3
    """
    reader = Reader()
    layer, file = reader.read(name_or_path)
    values, problems = parse_overrides(overrides)
    origins = {name: _last(overrides, name) for name in values}
    problems += set_values(layer, values, origins, reader)
    layer, missing = lay_below(layer)
    problems = reader.problems + problems + missing
    if file is None:
        raise ConfigError(problems)
    run = layer.values.setdefault("run", {})
    if isinstance(run, dict) and run.get("directory") is None:
        run["directory"] = f"runs/{file.stem}"
    config = _validated(layer, problems)
    return _with_input_files(config, layer)


def read_physics(physics: PhysicsConfig | str | Mapping[str, Any]) -> PhysicsConfig:
    """The measurement model that an argument means.

    Args:
        physics: the model itself, the name of a profile (``default``, ``original``, ...), or a dict as the section
            ``physics`` of a configuration: ``{"base": "original", "scene": {"snr_db": [10, 10]}}``.

    Raises:
        ConfigError: with every problem.

    Example:
        >>> read_physics({"base": "original", "scene": {"snr_db": [10, 10]}}).scene.snr_db
        (10.0, 10.0)
    """
    if isinstance(physics, PhysicsConfig):
        return physics
    reader, layer = Reader(), Layer({"stages": ["simulate"], "physics": _plain_tree(physics)})
    problems = replace_deprecated(layer.values, layer.origins)
    reader.expand_profiles(layer)
    return _validated(layer, problems + reader.problems).physics


def read_section(section: type[SectionType], values: SectionType | Mapping[str, Any] | None, name: str) -> SectionType:
    """The section that an argument means: itself, a dict of its settings, or None for the defaults.

    Args:
        section: its class.
        values: the argument.
        name: of the section, for error messages.

    Raises:
        ConfigError: with every problem.
    """
    if isinstance(values, section):
        return values
    layer = Layer({"stages": ["simulate"], name: _plain_tree(values or {})})
    return getattr(_validated(layer, replace_deprecated(layer.values, layer.origins)), name)


def apply_overrides(config: Config, values: Mapping[str, Any]) -> Config:
    """``config`` with some settings changed by dotted path, validated again.

    Example:
        >>> changed = apply_overrides(load_config("base.yaml"), {"train.learning_rate": 3e-4, "model.width": 192})
        >>> changed.model.width
        192

    Raises:
        ConfigError: with every problem.
    """
    reader = Reader()
    layer = Layer(to_tree(config))
    problems = set_values(layer, {name: _plain(value) for name, value in values.items()}, {}, reader)
    return _validated(layer, reader.problems + problems)


def to_tree(config: Config) -> dict[str, Any]:
    """The configuration as plain dicts, lists and scalars, passwords included."""
    tree = config.model_dump(mode="json")
    tree["search"]["space"] = {
        name: {kind: bounds for kind, bounds in distribution.items() if bounds is not None}
        for name, distribution in tree["search"]["space"].items()
    }
    return tree


def to_yaml(config: Config) -> str:
    """The configuration as YAML that `from_yaml` and `load_config` read; passwords in URLs become ``***``."""
    return write_yaml(mask_tree(to_tree(config)))


def from_yaml(text: str) -> Config:
    """The configuration that `to_yaml` wrote, of this version or an earlier one (`risjax.config.upgrade`).

    Raises:
        ConfigError: with every problem.
    """
    try:
        values = read_yaml(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError([Problem("", "", f"invalid YAML: {' '.join(str(error).split())}")]) from None
    layer = Layer(values)
    return _validated(layer, replace_deprecated(layer.values, layer.origins))


def differences(a: Config, b: Config) -> dict[str, tuple[Any, Any]]:
    """The settings that differ, as {dotted path: (value in a, value in b)}, passwords masked on both sides.

    Lists of plain values count as one setting; a setting that one side lacks is None there.

    Example:
        >>> differences(load_config("base.yaml"), load_config("base.yaml", ["train.epochs=3"]))
        {'train.epochs': (12, 3)}
    """
    left, right = (dict(_leaves(mask_tree(to_tree(config)), ())) for config in (a, b))
    names = dict.fromkeys((*left, *right))
    return {name: (left.get(name), right.get(name)) for name in names if left.get(name) != right.get(name)}


def _validated(layer: Layer, problems: Sequence[Problem]) -> Config:
    try:
        config = Config.model_validate(layer.values)
    except ValidationError as error:
        found = schema_problems(error, Config, layer.values, layer.origins)
        if problems:  # an unreadable file may have set them
            found = [problem for problem in found if not problem.text.startswith("is required")]
        raise ConfigError([*problems, *found]) from None
    if problems:
        raise ConfigError(problems)
    return config


def _with_input_files(config: Config, layer: Layer) -> Config:
    """Checks that named input files exist; a relative one is looked up beside ``configs/`` too."""
    problems, found = [], {}
    named: dict[KeyPath, str | None] = {
        ("evaluate", "sources", index, "path"): source.path for index, source in enumerate(config.evaluate.sources)
    }
    for path, value in (named | {("data", "path"): config.data.path}).items():
        if value is None or Path(value).expanduser().exists():
            continue
        shipped = documents.SHIPPED.parent / value
        if shipped.exists():
            found[dotted(path)] = str(shipped)
        else:
            looked = " and ".join(dict.fromkeys((str(Path(value).absolute()), str(shipped))))
            problems.append(Problem(dotted(path), place_of(path, layer.origins), f"no such file; looked for {looked}"))
    if config.search.storage is not None and is_masked(config.search.storage):
        text = "the password was never stored; give the whole URL with search.storage=..."
        problems.append(Problem("search.storage", place_of(("search", "storage"), layer.origins), text))
    if problems:
        raise ConfigError(problems)
    return apply_overrides(config, found) if found else config


def _last(overrides: Sequence[str], name: str) -> str:
    return next(text for text in reversed(overrides) if text.partition("=")[0].strip() == name)


def _plain(value: Any) -> Any:
    """Tuples as lists, numpy scalars as Python's: what the strict schema takes."""
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value.item() if hasattr(value, "item") else copy.deepcopy(value)


def _plain_tree(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain_tree(entry) for key, entry in value.items()}
    return _plain(value)


def _leaves(value: Any, path: tuple[str | int, ...]) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, entry in value.items() for leaf in _leaves(entry, (*path, key))]
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        return [leaf for index, entry in enumerate(value) for leaf in _leaves(entry, (*path, index))]
    return [(dotted(path), value)]
