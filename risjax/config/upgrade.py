"""Settings of earlier versions in a tree of settings: dropped, moved, or an error with the reason.

Every reader of YAML and of overrides applies the tables of `risjax.config.deprecated` before the schema validates: the
configurations of users, of run directories and of releases.
"""

from collections.abc import Iterator
from typing import Any

from risjax.config.deprecated import (
    ADDED,
    DEPRECATED,
    RENAMED_METHODS,
    Action,
    Removed,
    RemovedChoice,
    RemovedNull,
    Renamed,
    RenamedChoice,
    Unread,
)
from risjax.config.errors import KeyPath, Problem, dotted, place_of

_SPACE = ("search", "space")


def replace_deprecated(values: dict[str, Any], origins: dict[KeyPath, str]) -> list[Problem]:
    """Apply the table to a tree of settings and to the record of where each was written, in place.

    Args:
        values: the tree of one file, or of a whole configuration.
        origins: place of each value, by path.

    Returns:
        One problem for every setting that cannot be dropped or moved. It is taken out all the same, so that the schema
        does not report it a second time.
    """
    problems = []
    for pattern, action in _table():
        for path in list(_matches(values, pattern, ())):
            problems += _replace(values, origins, path, action)
        problems += _replace_in_space(values, origins, pattern, action)
    _complete_stored_sections(values)
    return problems


def _complete_stored_sections(values: dict[str, Any]) -> None:
    """Give complete sections of earlier versions the settings of `ADDED` that they lack, in place."""
    for name, added in ADDED.items():
        *section, setting = name.split(".")
        for pattern in (tuple(section), ("evaluate", "sources", "*", *section)):
            for path in _matches(values, pattern, ()):
                holder = _holder(values, path)[path[-1]]
                if isinstance(holder, dict) and added.complete <= holder.keys():
                    holder.setdefault(setting, added.value)


def current_path(path: KeyPath) -> KeyPath:
    """Return the present path of a setting; the same path if it was not renamed."""
    for pattern, action in _table():
        if isinstance(action, Renamed) and _fits(path[: len(pattern)], pattern):
            return (*_filled(action.to, path), *path[len(pattern) :])
    return path


def _table() -> Iterator[tuple[tuple[str, ...], Action]]:
    """Every pattern, split at its dots, with its action; those of ``physics`` once more for the evaluated scenes."""
    yield ("evaluate", "methods"), RenamedChoice(RENAMED_METHODS)
    for name, action in DEPRECATED.items():
        pattern = tuple(name.split("."))
        yield pattern, action
        if pattern[0] == "physics":
            of_source = Renamed(f"evaluate.sources.*.{action.to}") if isinstance(action, Renamed) else action
            yield ("evaluate", "sources", "*", *pattern), of_source


def _replace(values: dict[str, Any], origins: dict[KeyPath, str], path: KeyPath, action: Action) -> list[Problem]:
    """Apply one action at one path, in place."""
    if isinstance(action, RenamedChoice | RemovedChoice):
        return _replace_choice(values, origins, path, action)
    if isinstance(action, RemovedNull):
        return _replace_null(values, origins, path, action)
    holder = _holder(values, path)
    value, below = holder.pop(path[-1]), _cut(origins, path)
    if isinstance(action, Renamed):
        return _move(values, origins, path, _filled(action.to, path), value, below)
    return [] if isinstance(action, Unread) else _refuse(path, below, value, action)


def _refuse(path: KeyPath, origins: dict[KeyPath, str], value: Any, action: Removed) -> list[Problem]:
    """The error of a removed setting that was not switched off; none otherwise."""
    where = path if action.switch is None else (*path, action.switch)
    if action.switch is not None and isinstance(value, dict):
        value = value.get(action.switch, action.off)
    if not isinstance(value, bool) and value == action.off:
        return []
    return [Problem(dotted(where), place_of(where, origins), f"got {value}, expected {action.off}: {action.reason}")]


def _replace_choice(
    values: dict[str, Any], origins: dict[KeyPath, str], path: KeyPath, action: RenamedChoice | RemovedChoice
) -> list[Problem]:
    """Rename the entries of a list, or take a removed choice out of it."""
    holder = _holder(values, path)
    value = holder[path[-1]]
    if isinstance(action, RenamedChoice):
        is_list = isinstance(value, list)
        holder[path[-1]] = [_renamed(action, entry) for entry in value] if is_list else _renamed(action, value)
        return []
    if action.value not in (value if isinstance(value, list) else [value]):
        return []
    place = place_of(path, origins)
    if isinstance(value, list):
        holder[path[-1]] = [entry for entry in value if entry != action.value] or value
    else:
        del holder[path[-1]]
        _cut(origins, path)
    return [Problem(dotted(path), place, f"got {action.value}, which is no longer a choice: {action.reason}")]


def _replace_null(
    values: dict[str, Any], origins: dict[KeyPath, str], path: KeyPath, action: RemovedNull
) -> list[Problem]:
    """Take a null out, and give the other setting the name of what null meant."""
    holder = _holder(values, path)
    if holder[path[-1]] is not None:
        return []
    place, other = place_of(path, origins), holder.get(action.other)
    del holder[path[-1]]
    _cut(origins, path)
    if other is None:
        return [Problem(dotted(path), place, f"got null, which is no longer a choice: {action.reason}")]
    holder[action.other] = action.names.get(other, other)
    return []


def _renamed(action: RenamedChoice, entry: Any) -> Any:
    return action.names.get(entry, entry) if isinstance(entry, str) else entry


def _move(
    values: dict[str, Any],
    origins: dict[KeyPath, str],
    old: KeyPath,
    new: KeyPath,
    value: Any,
    below: dict[KeyPath, str],
) -> list[Problem]:
    holder: Any = values
    for part in new[:-1]:
        holder = holder.setdefault(part, {}) if isinstance(part, str) else holder[part]
    if new[-1] in holder:
        text = f"got {dotted(old)} and {dotted(new)}, expected one of them: the first is the old name of the second"
        return [Problem(dotted(old), place_of(old, below), text)]
    holder[new[-1]] = value
    origins |= {(*new, *path[len(old) :]): place for path, place in below.items()}
    return []


def _replace_in_space(
    values: dict[str, Any], origins: dict[KeyPath, str], pattern: tuple[str, ...], action: Action
) -> list[Problem]:
    """The keys of ``search.space`` are dotted paths themselves."""
    problems: list[Problem] = []
    if isinstance(action, RemovedChoice | RemovedNull | RenamedChoice):
        return problems
    for place in _matches(values, _SPACE, ()):
        space = _holder(values, place)[place[-1]]
        for name in list(space) if isinstance(space, dict) else ():
            path = tuple(str(name).split("."))
            if not _fits(path[: len(pattern)], pattern):
                continue
            entry = space.pop(name)
            if isinstance(action, Renamed):
                space[dotted(current_path(path))] = entry
            else:
                problems.append(Problem(dotted((*_SPACE, name)), place_of((*_SPACE, name), origins), action.reason))
    return problems


def _matches(node: Any, pattern: tuple[str, ...], path: KeyPath) -> Iterator[KeyPath]:
    if not pattern:
        yield path
    elif pattern[0] == "*":
        entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for part, entry in entries:
            yield from _matches(entry, pattern[1:], (*path, part))
    elif isinstance(node, dict) and pattern[0] in node:
        yield from _matches(node[pattern[0]], pattern[1:], (*path, pattern[0]))


def _fits(path: KeyPath, pattern: tuple[str, ...]) -> bool:
    return len(path) == len(pattern) and all(
        expected in ("*", part) for part, expected in zip(path, pattern, strict=True)
    )


def _filled(pattern: str, path: KeyPath) -> KeyPath:
    indices = iter([part for part in path if isinstance(part, int)])
    return tuple(next(indices) if part == "*" else part for part in pattern.split("."))


def _holder(values: Any, path: KeyPath) -> Any:
    for part in path[:-1]:
        values = values[part]
    return values


def _cut(origins: dict[KeyPath, str], path: KeyPath) -> dict[KeyPath, str]:
    """Take the places at and below ``path`` out of ``origins``."""
    below = {known: place for known, place in origins.items() if known[: len(path)] == path}
    for known in below:
        del origins[known]
    return below
