"""Writes docs/configuration.md from the schema: ``python docs/generate_configuration.py``.

`page` returns the text; tests/test_docs.py compares it with the committed page.
"""

import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from risjax.config.root import Config
from risjax.registry.section import Section

PAGE = Path(__file__).with_name("configuration.md")

HEAD = """\
# Configuration

<!-- written by docs/generate_configuration.py from risjax/config/; do not edit -->

Every setting with its type, default and meaning, as the schema has them. Where settings come from, how they are
overridden and what an error looks like is described in [Running](running.md); `python run.py --config NAME.yaml
--print-config` shows what a run would use. Types are strict: `3.0` is not an integer, `wide` not a number, and NaN and
infinities are refused. A section may be left out; its defaults hold then.
"""

_WORDS = {int: "integer", float: "number", bool: "true or false", str: "text", Any: "any value"}
_LIMITS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def page() -> str:
    """The whole page."""
    fields = Config.model_fields
    plain = {name: field for name, field in fields.items() if _section(field.annotation) is None}
    parts = [HEAD, "## Top level\n", _table([_row(name, field, field.default) for name, field in plain.items()])]
    for name, field in fields.items():
        section = _section(field.annotation)
        if section is not None:
            parts += _of_section(name, section, field.get_default(call_default_factory=True), level=2)
    return "\n".join(parts)


def _of_section(name: str, section: type[Section], default: Section | None, *, level: int) -> Iterator[str]:
    yield f"{'#' * level} `{name}`\n"
    yield _text(inspect.getdoc(section) or "") + "\n"
    rows, below = [], []
    for key, field in section.model_fields.items():
        value = field.get_default(call_default_factory=True) if default is None else getattr(default, key)
        inner = _section(field.annotation)
        if inner is not None:
            below.append((f"{name}.{key}", inner, value))
            continue
        rows.append(_row(key, field, value))
        below += [(where, each, None) for where, each in _inside(f"{name}.{key}", field.annotation)]
    if rows:
        yield _table(rows)
    for where, inner, value in below:
        yield from _of_section(where, inner, value, level=3)


def _inside(name: str, annotation: Any) -> Iterator[tuple[str, type[Section]]]:
    """The sections that a setting's entries or alternatives are; ``physics`` of a source is the section physics."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _inside(name, arguments[0])
    elif origin in (Union, types.UnionType) and not name.endswith(".physics"):
        for each in arguments:
            if _section(each) is not None:
                yield f"{name} ({each.model_fields['kind'].annotation.__args__[0]})", each
    elif origin in (tuple, dict):
        for each in arguments:
            if _section(each) is not None:
                yield f"{name}[…]", each


def _section(annotation: Any) -> type[Section] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _row(name: str, field: FieldInfo, default: Any) -> str:
    shown = "required" if field.is_required() else f"`{_yaml(default)}`"
    kind = _type(field.annotation) + _limits(field.metadata)
    return f"| `{name}` | {kind} | {shown} | {_text(field.description or '')} |"


def _table(rows: list[str]) -> str:
    return "\n".join(["| setting | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [entry for extra in arguments[1:] for entry in getattr(extra, "metadata", [extra])]
        return _type(arguments[0]) + _limits(inner)
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments) if len(arguments) > 1 else f"`{arguments[0]}`"
    if origin in (Union, types.UnionType):
        words = list(dict.fromkeys(map(_type, arguments)))
        return " or ".join("[low, high]" if word == f"[{words[0]}, {words[0]}]" else word for word in words)
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"list of ({_type(arguments[0])})" if " " in _type(arguments[0]) else f"list of {_type(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(map(_type, arguments))}]"
    if origin is dict:
        return f"mapping of {_type(arguments[0])} to {_type(arguments[1])}"
    if annotation is type(None):
        return "null"
    return "section" if _section(annotation) else _WORDS[annotation]


def _limits(metadata: Any) -> str:
    found = []
    for entry in metadata:
        found += [f"{sign} {getattr(entry, name)}" for name, sign in _LIMITS.items() if hasattr(entry, name)]
        if hasattr(entry, "min_length"):
            found.append("not empty")
        if getattr(entry, "pattern", None):
            found.append(f"like `{entry.pattern}`")
    return "".join(f", {text}" for text in found)


def _yaml(value: Any) -> str:
    plain = _plain(value)
    return yaml.safe_dump(plain, default_flow_style=True, width=1000, sort_keys=False).removesuffix("\n...\n").strip()


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        given = value.model_dump(mode="json", exclude_defaults=True)
        return given | {"kind": value.kind} if hasattr(value, "kind") else given  # type: ignore[attr-defined]
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


def _text(text: str) -> str:
    """A docstring as Markdown; its paragraphs stay paragraphs only outside of tables, where there is one each."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
