"""``section.key=value`` on the command line, and dotted paths in the search's space."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from risjax.config.documents import Layer, Reader
from risjax.config.errors import KeyPath, Problem, dotted
from risjax.config.root import Config
from risjax.config.upgrade import current_path, replace_deprecated
from risjax.config.yaml12 import read_value

_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def parse_path(text: str) -> KeyPath | None:
    """``evaluate.sources[0].name`` or ``evaluate.sources.0.name`` as a path, None where it is malformed.

    Example:
        >>> parse_path("evaluate.sources[0].name")
        ('evaluate', 'sources', 0, 'name')
    """
    if not re.fullmatch(r"[^.\[\]]+(\.[^.\[\]]+|\[\d+\])*", text):
        return None
    return tuple(int(index or key) if (index or key).isdigit() else key for index, key in _PART.findall(text))


def parse_overrides(overrides: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """Command-line overrides as {dotted path: value}; the last of the same path wins.

    Values are YAML, read as in a file: ``1e-3`` is a number, ``null`` is None, ``[a, b]`` a list.

    Example:
        >>> parse_overrides(["train.learning_rate=1e-3", "stages=[train, report]"])
        ({'train.learning_rate': 0.001, 'stages': ['train', 'report']}, [])
    """
    values, problems = {}, []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or parse_path(key) is None:
            problems.append(Problem(key or override, override, "expected section.key=value, as in train.epochs=3"))
        elif "${" in text:
            problems.append(Problem(key, override, "interpolation (${...}) is not supported; write the value"))
        else:
            try:
                values[key] = read_value(text)
            except (yaml.YAMLError, RecursionError) as error:
                reason = getattr(error, "problem", None) or str(error).splitlines()[0]
                problems.append(Problem(key, override, f"the value is not valid YAML: {reason}; quote it?"))
    return values, problems


def set_values(layer: Layer, values: Mapping[str, Any], origins: Mapping[str, str], reader: Reader) -> list[Problem]:
    """Sets dotted paths in a tree, in order; a profile's name that one sets is expanded by ``reader`` at once.

    A path through a mapping creates missing keys (the schema refuses unknown names); a list accepts an index within its
    length. Returns the problems: an index out of range, or a path that leads through a plain value.
    """
    problems = []
    for name, value in values.items():
        path = parse_path(name)
        origin = origins.get(name, "")
        if path is None:
            problems.append(Problem(name, origin, "expected a dotted path, as in train.epochs"))
            continue
        text = _set(layer, current_path(path), value, origin)
        if text:
            problems.append(Problem(dotted(path), origin, text))
        problems += replace_deprecated(layer.values, layer.origins)
        reader.expand_profiles(layer)
    return problems


def _set(layer: Layer, path: KeyPath, value: Any, origin: str) -> str | None:
    node: Any = layer.values
    part: Any
    for depth, part in enumerate(path):
        here = dotted(path[:depth])
        last = depth == len(path) - 1
        if isinstance(node, list):
            if not isinstance(part, int):
                return f"{here} is a list; give an index, as in {here}[0], or the whole list"
            if part >= len(node):
                return f"{here} has {len(node)} entries, so its last index is {len(node) - 1}; got {part}"
        elif isinstance(node, dict):
            part = str(part)  # a name of digits alone
            if not last and node.get(part) is None:
                node[part] = _default_list(path[: depth + 1]) if isinstance(path[depth + 1], int) else {}
        else:
            return f"{here} is a plain value and has no settings below it"
        if last:
            layer.place(node, part, value, path, {path: origin})
        else:
            node = node[part]
    return None


def _default_list(path: KeyPath) -> Any:
    """The default list of ``path``, so that an index of it can be overridden."""
    node: Any = Config(stages=("train",)).model_dump(mode="json")
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, list) else {}
