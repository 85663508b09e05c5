"""YAML files: reading them, their ``base:`` files, and the place of every value.

`risjax.config.yaml12` parses them. Interpolation (``${...}``) is refused. A file's ``base:`` is a file or a list of
files, each relative to the file that contains it or a bare name of the shipped ``configs/``; later ones win, and the
file itself wins over all. ``physics:`` may be the name of a profile of ``configs/physics/``, the whole section;
``physics: {base: original, ...}`` changes a profile.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from risjax.config.errors import KeyPath, Problem, did_you_mean
from risjax.config.upgrade import replace_deprecated
from risjax.config.yaml12 import compose, read_yaml

_INSIDE = Path(__file__).resolve().parents[1] / "shipped" / "configs"
SHIPPED = _INSIDE if _INSIDE.is_dir() else Path(__file__).resolve().parents[2] / "configs"
"""The shipped configurations: the repository's ``configs/``, which a wheel carries inside the package."""

DEFAULT_PROFILE = "default"
"""Name of the physics with the defaults of the schema."""

WHOLE_VALUES: tuple[KeyPath, ...] = (("search", "space"), ("physics", "scene", "snr_law"))
"""Mappings that a later file or override replaces as a whole: their keys are data, or belong to one kind of several."""


@dataclass
class Layer:
    """A tree of values, and the place of each."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    complete: set[KeyPath] = field(default_factory=set)
    """Sections that replace those below them: those that began with a profile."""

    def merge(self, other: "Layer") -> None:
        """Merges ``other`` into this layer: mappings are merged, all other values, lists too, are replaced."""
        self._merge(self.values, other.values, (), other)
        self.complete |= other.complete

    def _merge(self, into: dict[str, Any], new: Mapping[str, Any], prefix: KeyPath, other: "Layer") -> None:
        for key, value in new.items():
            path = (*prefix, key)
            both = isinstance(value, dict) and isinstance(into.get(key), dict)
            if both and path not in WHOLE_VALUES and path not in other.complete:
                self._merge(into[key], value, path, other)
            else:
                self.place(into, key, value, path, {p: w for p, w in other.origins.items() if p[: len(path)] == path})

    def place(self, into: Any, key: str | int, value: Any, path: KeyPath, origins: Mapping[KeyPath, str]) -> None:
        """Sets one value and drops the places of the values that it replaces."""
        into[key] = value
        self.origins = {p: w for p, w in self.origins.items() if p[: len(path)] != path} | dict(origins)


class Reader:
    """Reader of files with their bases, which collects every problem."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def read(self, name: str) -> tuple[Layer, Path | None]:
        """The merged tree of the file that ``name`` means, and the file."""
        file, looked = find_config(name)
        if file is None:
            self._problem(name, "", f"no such file; looked for {looked}{did_you_mean(name, shipped_configs())}")
            return Layer(), None
        return self._read_file(file, ()), file

    def _problem(self, path: str, origin: str, text: str) -> None:
        self.problems.append(Problem(path, origin, text))

    def _read_file(self, file: Path, chain: tuple[Path, ...]) -> Layer:
        layer = self._parse(file)
        self.problems += replace_deprecated(layer.values, layer.origins)
        below = Layer()
        for name, origin in self._bases(layer):
            base = _find_base(name, file.parent, SHIPPED)
            if base is None:
                folders = dict.fromkeys(map(str, (file.parent, SHIPPED)))
                options = sorted({entry.name for folder in folders for entry in Path(folder).glob("*.yaml")})
                text = f"no such file: {name!r}; looked in {' and '.join(folders)}{did_you_mean(name, options)}"
                self._problem("base", origin, text)
            elif base in (*chain, file):
                names = [entry.name for entry in (*chain, file, base)]
                self._problem("base", origin, f"circular base: {' -> '.join(names[names.index(base.name) :])}")
            else:
                below.merge(self._read_file(base, (*chain, file)))
        self.expand_profiles(layer)
        below.merge(layer)
        return below

    def _bases(self, layer: Layer) -> Iterator[tuple[str, str]]:
        origin = layer.origins.get(("base",), "")
        names = layer.values.pop("base", [])
        for name in names if isinstance(names, list) else [names]:
            if isinstance(name, str):
                yield name, origin
            else:
                self._problem("base", origin, f"got {name!r}, expected a file name or a list of file names")
        layer.origins = {path: where for path, where in layer.origins.items() if path[0] != "base"}

    def expand_profiles(self, layer: Layer) -> None:
        """Replaces profile names where physics is expected: ``physics`` and ``evaluate.sources[].physics``."""
        self._expand(layer, layer.values, ("physics",))
        sources = layer.values.get("evaluate")
        sources = sources.get("sources") if isinstance(sources, dict) else None
        for index, source in enumerate(sources if isinstance(sources, list) else []):
            if isinstance(source, dict):
                self._expand(layer, source, ("evaluate", "sources", index, "physics"))

    def _expand(self, layer: Layer, holder: dict[str, Any], path: KeyPath) -> None:
        value = holder.get("physics")
        changes = Layer()
        if isinstance(value, dict) and "base" in value:
            name = value["base"]
            rest = {key: entry for key, entry in value.items() if key != "base"}
            below = {p: w for p, w in layer.origins.items() if len(p) > len(path) and p[: len(path)] == path}
            changes = Layer(rest, {p[len(path) :]: w for p, w in below.items() if p[len(path)] != "base"})
        elif isinstance(value, str):
            name = value
        else:
            return
        origin = layer.origins.get((*path, "base"), layer.origins.get(path, ""))
        folder = SHIPPED / "physics"
        file = _find_base(str(name), folder) if isinstance(name, str) else None
        if file is None and name == DEFAULT_PROFILE:
            profile = Layer()
        elif file is None:
            options = sorted([DEFAULT_PROFILE, *(entry.stem for entry in folder.glob("*.yaml"))])
            known = f"; there are {', '.join(options)}"
            text = f"no such profile: {name!r} is not in {folder}{known}{did_you_mean(str(name), options)}"
            self._problem(".".join(map(str, path)), origin, text)
            profile = Layer()
        else:
            profile = self._read_file(file, ())
        profile.merge(changes)
        origins = {path: origin} | {(*path, *p): where for p, where in profile.origins.items()}
        layer.place(holder, "physics", profile.values, path, origins)
        layer.complete.add(path)

    def _parse(self, file: Path) -> Layer:
        shown = _shown(file)
        try:
            text = file.read_text(encoding="utf-8")
            root = compose(text)
            if root is None:
                return Layer()
            if not isinstance(root, yaml.MappingNode):
                self._problem(shown, f"{shown}:1", "expected settings of the form `section:` and below it `key: value`")
                return Layer()
            lines = {path: node for path, node in _nodes(root, ())}
            layer = Layer({}, {path: f"{shown}:{node.start_mark.line + 1}" for path, node in lines.items()})
            for path, node in lines.items():
                if isinstance(node, yaml.ScalarNode) and "${" in node.value:
                    text_ = "interpolation (${...}) is not supported; write the value"
                    self._problem(".".join(map(str, path)), layer.origins[path], text_)
                    return Layer()
            layer.values = read_yaml(text)
        except OSError as error:
            self._problem(shown, "", f"cannot be read: {error.strerror or error}")
        except UnicodeDecodeError as error:
            self._problem(shown, "", f"is not valid UTF-8 (byte {error.start})")
        except yaml.MarkedYAMLError as error:
            line = f"{shown}:{error.problem_mark.line + 1}" if error.problem_mark else shown
            self._problem(shown, line, f"is not valid YAML: {error.problem or error}")
        except (yaml.YAMLError, RecursionError) as error:
            self._problem(shown, "", f"is not valid YAML: {str(error).splitlines()[0]}")
        else:
            return layer if self._named(layer) else Layer()
        return Layer()

    def _named(self, layer: Layer) -> bool:
        bad = [path for path, key in _keys(layer.values, ()) if not isinstance(key, str)]
        for path in bad:
            text = f"got the key {path[-1]!r}, expected a name; quote it"
            self._problem(".".join(map(str, path)), layer.origins.get(path[:-1], ""), text)
        return not bad


def shipped_configs() -> list[str]:
    """The names of the shipped configurations."""
    return sorted(entry.name for entry in SHIPPED.glob("*.yaml"))


def find_config(name: str) -> tuple[Path | None, str]:
    """The file that ``name`` means, and the places searched.

    A bare name is looked up in the working directory, then among the shipped configurations; the suffix
    ``.yaml`` may be left out.
    """
    given = Path(name).expanduser()
    folders = [Path()] if given.is_absolute() or len(given.parts) > 1 else [Path(), SHIPPED]
    names = [given] if given.suffix in (".yaml", ".yml") else [given, given.with_name(given.name + ".yaml")]
    candidates = [folder / candidate for folder in folders for candidate in names]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    return (found.resolve() if found else None), " and ".join(str(candidate.absolute()) for candidate in candidates)


def _find_base(name: str, *folders: Path) -> Path | None:
    names = [name] if name.endswith((".yaml", ".yml")) else [name, name + ".yaml"]
    candidates = (folder / candidate for folder in folders for candidate in names)
    return next((candidate.resolve() for candidate in candidates if candidate.is_file()), None)


def _shown(file: Path) -> str:
    """A file as messages name it: relative to the working directory where it is below that."""
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def _nodes(node: yaml.Node, path: KeyPath) -> Iterator[tuple[KeyPath, yaml.Node]]:
    children: list[tuple[Any, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(key.value, key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(index, value, value) for index, value in enumerate(node.value)]
    for key, key_node, value in children:
        yield (*path, key), value if isinstance(value, yaml.ScalarNode) else key_node
        yield from _nodes(value, (*path, key))


def _keys(values: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    entries: Any = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in entries:
        if isinstance(values, dict):
            yield (*path, key), key
        yield from _keys(value, (*path, key))
