"""Settings of earlier versions: the table of those removed or renamed, and what is done with each.

Every reader of YAML and of overrides applies the table before the schema validates: the configurations of users, of
run directories and of releases. A removed setting is accepted at the value that switched it off, which means the same
program without it, and dropped; at any other value it is an error with the reason. A renamed setting is moved. To
remove or rename a setting, add a line to `DEPRECATED`. A new setting whose default differs from what earlier versions
did has a line in `ADDED`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from risjax.config.errors import KeyPath, Problem, dotted, place_of


@dataclass(frozen=True)
class Removed:
    """A setting, or with ``switch`` a whole section, that no longer exists.

    Attributes:
        off: the value that switched it off, or the default where another removed setting switched it off; of a
            section, that value of its setting ``switch``.
        reason: why it was removed, or what replaces it.
        switch: name of the setting that decides whether the section is dropped. A section without it is dropped.
    """

    off: Any
    reason: str
    switch: str | None = None


@dataclass(frozen=True)
class RemovedChoice:
    """A value, alone or in a list, that a setting no longer takes.

    Attributes:
        value: the value.
        reason: why it was removed, or what replaces it.
    """

    value: str
    reason: str


@dataclass(frozen=True)
class RenamedChoice:
    """Values in the list of a setting that have other names now.

    Attributes:
        names: old name to new name.
    """

    names: Mapping[str, str]


@dataclass(frozen=True)
class Renamed:
    """A setting or section that has another path now.

    Attributes:
        to: the new path; each ``*`` is the index that the old path has in its place.
    """

    to: str


Action = Removed | RemovedChoice | RenamedChoice | Renamed

_GEOMETRY = "the geometry head was removed (docs/ablation.md); locate sources by learned_mvdr or learned_ml"
_CONTRAST = (
    "the term was removed because it changed no metric (docs/ablation.md); loss.projector and loss.alignment remain"
)
_DIAGONAL = "the weight was removed because it changed no metric (docs/ablation.md); leave it out"
_REFINER = "the refiner was removed because it changed no metric of learned_ml (docs/ablation.md); leave it out"

DEPRECATED: dict[str, Action] = {
    "model.geometry_slots": Removed(0, _GEOMETRY),
    "loss.geometry": Removed(0, _GEOMETRY, switch="weight"),
    "loss.contrast": Removed(0, _CONTRAST, switch="weight"),
    "loss.covariance.diagonal": Removed(1, _DIAGONAL),
    "model.refiner_width": Removed(0, _REFINER),
    "train.refiner": Removed(1000, _REFINER, switch="steps"),  # every run without a refiner has stored this default
    "physics.codebook.kind": RemovedChoice("mixed", "no measurement supported it; take dft or random"),
    "evaluate.methods": RemovedChoice("learned_geometry", _GEOMETRY),
    "ablate.methods": RemovedChoice("learned_geometry", _GEOMETRY),
}
"""Old dotted path to what is done with it; ``*`` is any index. A path of ``physics`` holds in
``evaluate.sources[].physics`` too."""


@dataclass(frozen=True)
class Added:
    """A setting that complete sections of earlier versions lack.

    Attributes:
        value: what earlier versions did; the default of the schema is another value.
        complete: settings that every complete section of an earlier version holds. A section that holds all of them
            was written by the program, in a run directory, a release or a manifest; users write the ones they change.
    """

    value: Any
    complete: frozenset[str]


ADDED: dict[str, Added] = {
    "physics.scene.snr_reference": Added(
        "received",
        frozenset(
            (
                "max_sources",
                "num_sources",
                "azimuth_deg",
                "elevation_deg",
                "range_m",
                "snr_db",
                "min_separation_deg",
                "symbols",
                "modulus",
                "gain_db",
            )
        ),
    )
}
"""Dotted path of a new setting to its value in sections that were stored before it existed."""

RENAMED_METHODS: Mapping[str, str] = MappingProxyType(
    {
        "greedy_ml_told_k": "greedy_ml_known_k",
        "sample_mvdr": "mvdr",
        "sample_music": "music",
        "sample_bartlett": "bartlett",
        "omp_ml": "omp",
    }
)
"""Old to new names of methods, in ``evaluate.methods`` and in the results that earlier versions stored."""

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


def current_method(name: str) -> str:
    """Return the present name of a method; the same name if it was not renamed."""
    return RENAMED_METHODS.get(name, name)


def current_array_name(name: str) -> str:
    """Return the name ``source/method/field`` of an array of ``estimates.npz`` with the present name of its method."""
    parts = name.split("/")
    return "/".join([*parts[:1], *map(current_method, parts[1:2]), *parts[2:]])


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
    holder = _holder(values, path)
    value, place = holder[path[-1]], place_of(path, origins)
    if isinstance(action, RenamedChoice):
        if isinstance(value, list):
            holder[path[-1]] = [_renamed_entry(action, entry) for entry in value]
        return []
    if isinstance(action, RemovedChoice):
        chosen = value if isinstance(value, list) else [value]
        if action.value not in chosen:
            return []
        if isinstance(value, list):
            holder[path[-1]] = [entry for entry in value if entry != action.value] or value
        return [Problem(dotted(path), place, f"got {action.value}, which is no longer a choice: {action.reason}")]
    below = _cut(origins, path)
    del holder[path[-1]]
    if isinstance(action, Renamed):
        return _move(values, origins, path, _filled(action.to, path), value, below)
    where = path if action.switch is None else (*path, action.switch)
    if action.switch is not None and isinstance(value, dict):
        value = value.get(action.switch, action.off)
    if not isinstance(value, bool) and value == action.off:
        return []
    return [Problem(dotted(where), place_of(where, below), f"got {value}, expected {action.off}: {action.reason}")]


def _renamed_entry(action: RenamedChoice, entry: Any) -> Any:
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
    if isinstance(action, RemovedChoice | RenamedChoice):
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
    elif isinstance(node, dict) and pattern[0] in node:
        yield from _matches(node[pattern[0]], pattern[1:], (*path, pattern[0]))
    elif isinstance(node, list) and pattern[0] == "*":
        for index, entry in enumerate(node):
            yield from _matches(entry, pattern[1:], (*path, index))


def _fits(path: KeyPath, pattern: tuple[str, ...]) -> bool:
    return len(path) == len(pattern) and all(
        isinstance(part, int) if expected == "*" else part == expected
        for part, expected in zip(path, pattern, strict=True)
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
