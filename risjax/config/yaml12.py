"""Reading and writing YAML with the scalars of YAML 1.2's core schema.

PyYAML alone follows YAML 1.1, where ``0123`` is 83, ``1:30`` is 90, ``1e-3`` is text and ``on`` is true. The core
schema (YAML 1.2.2, section 10.3.2) has decimal integers with any leading zeros, octal ``0o17``, hexadecimal ``0x1F``,
floats with an optional point, ``true`` and ``false``; everything else is text. Duplicate keys are refused.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

_NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))

CORE_SCHEMA: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (_NULL, re.compile(r"~|null|Null|NULL|"), "~nN"),
    (_BOOL, re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    (_INT, re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"), "-+0123456789"),
    (
        _FLOAT,
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
        "-+.0123456789",
    ),
)
"""Tag, pattern of the whole scalar and possible first characters, in the order in which they are tried."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the core schema; its own table of resolvers replaces that of YAML 1.1."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  (PyYAML's name and type)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Raises ConstructorError for a key that occurs twice, at the second one."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"found duplicate key {key}", key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_core_int(self, node: yaml.ScalarNode) -> int:
        """Decimal whatever the leading zeros; ``0o`` is octal, ``0x`` hexadecimal."""
        text = node.value
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base)

    def construct_core_float(self, node: yaml.ScalarNode) -> float:
        """As Python's float, with YAML's names of infinities and NaN."""
        return float(re.sub(r"\.(inf|nan)$", r"\1", node.value, flags=re.IGNORECASE))


class _Dumper(yaml.SafeDumper):
    """Lists of plain values on one line, mappings in blocks; quotes text that YAML 1.1 or 1.2 reads otherwise."""

    yaml_implicit_resolvers: dict[Any, Any] = {  # noqa: RUF012  (PyYAML's name and type)
        first: list(resolvers) for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        flat = not any(isinstance(entry, dict) for entry in sequence)
        return super().represent_sequence(tag, sequence, flow_style=flat)

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, flow_style=False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in CORE_SCHEMA:
    _whole = re.compile(rf"(?:{_pattern.pattern})\Z")
    _characters = [*_first, ""] if _tag == _NULL else list(_first)
    _Loader.add_implicit_resolver(_tag, _whole, _characters)
    _Dumper.add_implicit_resolver(_tag, _whole, _characters)
_Loader.add_constructor(_INT, _Loader.construct_core_int)
_Loader.add_constructor(_FLOAT, _Loader.construct_core_float)


def read_yaml(text: str) -> Any:
    """The value of a YAML document; None for an empty one.

    Example:
        >>> read_yaml("{a: 0123, b: 1e-3, c: 1:30, d: on}")
        {'a': 123, 'b': 0.001, 'c': '1:30', 'd': 'on'}

    Raises:
        yaml.YAMLError: invalid YAML, a duplicate key, or several documents.
        RecursionError: a value that contains itself.
    """
    return yaml.load(text, Loader=_Loader)


def read_value(text: str) -> Any:
    """The value of a command-line argument: YAML without comments.

    `` #`` begins a comment in a YAML file. The shell has removed the quotes of an argument, so that it belongs to the
    text here.

    Example:
        >>> read_value("runs/a #1")
        'runs/a #1'

    Raises:
        yaml.YAMLError: invalid YAML, or text behind ``#`` after a list, a mapping or a quoted value.
    """
    node = yaml.compose(text, Loader=_Loader)
    rest = text.strip() if node is None else text[node.end_mark.index :].strip()
    if not rest:
        return read_yaml(text)
    if node is None or (isinstance(node, yaml.ScalarNode) and node.style is None):
        return text.strip()
    raise yaml.MarkedYAMLError(problem=f"text after the value: {rest}")


def compose(text: str) -> yaml.Node | None:
    """The node tree of a YAML document, whose marks give line numbers.

    Raises:
        yaml.YAMLError: invalid YAML.
    """
    return yaml.compose(text, Loader=_Loader)


def write_yaml(tree: Any) -> str:
    """Plain dicts, lists and scalars as YAML that `read_yaml` reads back unchanged."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
