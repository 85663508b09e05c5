"""Problems of a configuration, reported all at once.

A `Problem` contains the place (dotted path and origin: file and line, or the override), what was got, what was
expected, and the likely correction. `ConfigError` contains all of them.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from risjax.config.secrets import mask

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the root of the configuration."""

Origins = Mapping[KeyPath, str]
"""Place of each value: ``quick.yaml:12`` or the override itself."""

_EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "model_type": "a section (a mapping of settings)",
    "dict_type": "a mapping",
    "tuple_type": "a list",
}
_BOUNDS = {
    "greater_than": ("gt", ">"),
    "greater_than_equal": ("ge", ">="),
    "less_than": ("lt", "<"),
    "less_than_equal": ("le", "<="),
}


@dataclass(frozen=True)
class Problem:
    """One problem: path of the setting, where it was written, and what to do."""

    path: str
    origin: str
    text: str


class ConfigError(Exception):
    """A configuration that cannot be used; ``problems`` contains all its problems."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = tuple(problems)
        super().__init__(self._render())

    def _render(self) -> str:
        count = len(self.problems)
        lines = [f"{count} problem{'s' if count != 1 else ''} in the configuration"]
        for problem in self.problems:
            origin = f"  [{problem.origin}]" if problem.origin else ""
            lines += [f"  {problem.path}{origin}", *(f"      {line}" for line in problem.text.splitlines())]
        return mask("\n".join(lines))


def dotted(path: KeyPath) -> str:
    """Return a key path as text: ('evaluate', 'sources', 0, 'name') becomes 'evaluate.sources[0].name'."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def schema_problems(error: ValidationError, schema: type[BaseModel], values: Any, origins: Origins) -> list[Problem]:
    """Problems that pydantic found, each with its origin.

    Args:
        error: raised by pydantic.
        schema: the model that was validated, for suggestions.
        values: the tree that was validated.
        origins: place of each value.
    """
    known = tuple(setting_paths(schema))
    settings = frozenset(known)
    problems = []
    for detail in error.errors(include_url=False):
        path = _real_path(detail["loc"], values, settings)
        name, got = dotted(path), detail["input"]
        kind, context = detail["type"], detail.get("ctx", {})
        if kind == "extra_forbidden":
            text = f"unknown setting{_hint(suggest(path, known))}"
        elif kind == "missing":
            text = "is required, and nothing sets it"
        elif kind == "value_error":
            text = str(context["error"])
        elif kind == "literal_error":
            text = f"got {_shown(got)}, expected {context['expected']}{_hint(_options(got, context['expected']))}"
        elif kind in _BOUNDS:
            key, relation = _BOUNDS[kind]
            text = f"got {_shown(got)}, expected {relation} {context[key]:g}"
        elif kind == "tuple_type":
            text = f"got {_shown(got)}, expected a list, as in [{'...' if isinstance(got, dict) else got}]"
        elif kind == "too_short":
            text = f"got {_shown(got)}, expected at least {context['min_length']} of them"
        elif kind in _EXPECTED:
            text = f"got {_shown(got)}, expected {_EXPECTED[kind]}"
        else:
            text = f"got {_shown(got)}: {detail['msg'].removeprefix('Value error, ')}"
        problems.append(Problem(name, place_of(path, origins, text), text))
    return problems


def setting_paths(schema: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every dotted path of a schema, sections included; an index or a free key is ``*``."""
    for name, field in schema.model_fields.items():
        path = (*prefix, name)
        yield path
        yield from _inside(field.annotation, path)


def _inside(annotation: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from setting_paths(annotation, path)
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _inside(member, path)
    elif get_origin(annotation) in (tuple, list, dict):
        yield from _inside(next((a for a in reversed(get_args(annotation)) if a is not ...), None), (*path, "*"))


def suggest(path: KeyPath, known: Sequence[tuple[str, ...]]) -> list[str]:
    """Settings close to an unknown path: misspelt, abbreviated, or of another section."""
    pattern = tuple("*" if isinstance(part, int) else part for part in path)
    parent, leaf = pattern[:-1], str(pattern[-1])
    siblings = {candidate[-1]: candidate for candidate in known if candidate[:-1] == parent}
    close = difflib.get_close_matches(leaf, siblings, n=2, cutoff=0.6)
    close += [name for name in siblings if leaf == "".join(word[0] for word in name.split("_")) and len(leaf) > 1]
    if close:
        return [dotted((*path[:-1], name)) for name in dict.fromkeys(close)]
    elsewhere = [candidate for candidate in known if candidate[-1] == leaf and "*" not in candidate]
    if not elsewhere:
        names = {".".join(candidate): candidate for candidate in known if "*" not in candidate}
        elsewhere = [names[name] for name in difflib.get_close_matches(".".join(pattern), names, n=2, cutoff=0.75)]
    return [dotted(candidate) for candidate in elsewhere[:3]]


def did_you_mean(word: str, options: Sequence[str]) -> str:
    """``; did you mean ...?`` for the option closest to ``word``, or nothing."""
    return _hint(difflib.get_close_matches(word, options, n=1, cutoff=0.5))


def _hint(suggestions: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(suggestions)}?" if suggestions else ""


def _options(got: Any, expected: str) -> list[str]:
    options = [part.strip("'") for part in expected.replace(" or ", ", ").split(", ")]
    return difflib.get_close_matches(str(got).lower(), options, n=1, cutoff=0.5)


def _shown(value: Any) -> str:
    """A value as messages show it: short, with its type where that matters."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        return "a section"
    if isinstance(value, dict):
        return f"a mapping ({', '.join(map(str, list(value)[:3]))}{', ...' if len(value) > 3 else ''})"
    text = repr(list(value) if isinstance(value, tuple) else value)
    text = text if len(text) <= 80 else text[:77] + "..."
    return f"{text} (text)" if isinstance(value, str) else text


def _real_path(location: tuple[str | int, ...], values: Any, settings: Collection[tuple[str, ...]]) -> KeyPath:
    """pydantic's location without the labels of union members, which do not exist in the tree."""
    path: list[str | int] = []
    node: Any = values
    for number, part in enumerate(location):
        is_key = isinstance(node, dict) and part in node
        is_index = isinstance(node, list | tuple) and isinstance(part, int) and part < len(node)
        if is_key or is_index:
            path.append(part)
            node = node[part]  # type: ignore[index]
        elif isinstance(node, dict):
            is_default = tuple("*" if isinstance(key, int) else key for key in (*path, part)) in settings
            if is_default or number == len(location) - 1:  # a setting at its default, or a missing key
                path.append(part)
                node = {}
    return tuple(path)


def place_of(path: KeyPath, origins: Origins, text: str = "") -> str:
    """Place of a value, or of the value that contains it; for a rule between settings, the places of those it names."""
    below = {found: where for found, where in origins.items() if found[: len(path)] == path}
    if path not in origins and below:
        named = {found: where for found, where in below.items() if str(found[-1]) in text} or below
        places = list(dict.fromkeys(named.values()))
        return ", ".join(places[:3]) + (", ..." if len(places) > 3 else "")
    return next((origins[path[:end]] for end in range(len(path), 0, -1) if path[:end] in origins), "")
