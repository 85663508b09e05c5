"""Output files of the stage ``predict``, written as results arrive, and renamed when they are complete.

=================== ==================================================================================
sources.csv         one line a source
sources.json        one entry a scene, including scenes without sources and scenes that failed
sources.parquet     as the CSV; where pyarrow is installed
bad_scenes.csv      the scenes that could not be used, each with the reason
=================== ==================================================================================
"""

import contextlib
import csv
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from risjax.inference.predict.localization import COLUMNS, SCENE_COLUMNS, Localization

CSV_NAME, JSON_NAME, PARQUET_NAME, BAD_NAME = "sources.csv", "sources.json", "sources.parquet", "bad_scenes.csv"
DIGITS = 8
"""Significant digits: more than float32 has."""

_INTEGERS, _FLAGS = ("scene", "source"), ("misfit", "no_signal", "ill_conditioned")
_OF_SOURCE = tuple(name for name in COLUMNS[2:] if name not in SCENE_COLUMNS)


class Tables:
    """The open files of one prediction; `open_tables` makes it."""

    def __init__(self, sources: Any, bad: Any, scenes: Any, parquet: "_Parquet | None"):
        self._sources, self._bad = csv.writer(sources, lineterminator="\n"), csv.writer(bad, lineterminator="\n")
        self._scenes, self._parquet = scenes, parquet
        self._sources.writerow(COLUMNS)
        self._bad.writerow(("scene", "reason"))
        self._is_first = True

    def add(self, first: int, found: Localization, reasons: Mapping[int, str]) -> None:
        """Adds consecutive scenes.

        Args:
            first: index of the first one.
            found: sources of each; none in those that failed.
            reasons: why a scene failed, by its index in the whole input.
        """
        table = found.table(first)
        rounded = {
            name: [value if name in (*_INTEGERS, *_FLAGS) else _rounded(value) for value in values.tolist()]
            for name, values in table.items()
        }
        rows: list[dict[str, Any]] = [
            dict(zip(COLUMNS, values, strict=True)) for values in zip(*rounded.values(), strict=True)
        ]
        by_scene: dict[int, list[dict[str, Any]]] = {}
        for row in rows:
            self._sources.writerow(map(_text, row.values()))
            by_scene.setdefault(row["scene"], []).append({name: row[name] for name in _OF_SOURCE})
        for scene in range(first, first + len(found.active)):
            entry: dict[str, Any] = {"scene": scene}
            if scene in reasons:
                self._bad.writerow((scene, reasons[scene]))
                entry["error"] = reasons[scene]
            else:
                for name in SCENE_COLUMNS:
                    value = getattr(found, name)[scene - first].item()
                    entry[name] = value if name in _FLAGS else _rounded(value)
                entry["sources"] = by_scene.get(scene, [])
            self._scenes.write(("\n" if self._is_first else ",\n") + json.dumps(entry, allow_nan=False))
            self._is_first = False
        if self._parquet is not None:
            self._parquet.add(rounded)


@contextlib.contextmanager
def open_tables(folder: Path, header: Mapping[str, Any]) -> Iterator[Tables]:
    """Open all files under temporary names; rename them if the block succeeds, else remove them.

    Args:
        folder: their folder.
        header: entries of ``sources.json`` before its ``scenes``.
    """
    names = [CSV_NAME, BAD_NAME, JSON_NAME] + ([PARQUET_NAME] if _pyarrow() else [])
    beside = {name: folder / f".{name}.part" for name in names}
    try:
        with contextlib.ExitStack() as stack:
            files = {
                name: stack.enter_context(path.open("w", encoding="utf-8", newline=""))
                for name, path in beside.items()
                if name != PARQUET_NAME
            }
            parquet = stack.enter_context(_Parquet(beside[PARQUET_NAME])) if PARQUET_NAME in beside else None
            files[JSON_NAME].write(json.dumps({**header, "scenes": 0})[:-2] + "[")
            yield Tables(files[CSV_NAME], files[BAD_NAME], files[JSON_NAME], parquet)
            files[JSON_NAME].write("\n]}\n")
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())
        for name, path in beside.items():
            path.replace(folder / name)
    finally:
        for path in beside.values():
            path.unlink(missing_ok=True)


class _Parquet:
    """Parquet writer of one row group a call."""

    def __init__(self, path: Path):
        pyarrow = _pyarrow()
        kinds = [(name, _kind(pyarrow, name)) for name in COLUMNS]
        self._schema, self._path = pyarrow.schema(kinds), path

    def __enter__(self) -> "_Parquet":
        import pyarrow.parquet

        self._writer = pyarrow.parquet.ParquetWriter(self._path, self._schema)
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, columns: Mapping[str, list[Any]]) -> None:
        if columns["scene"]:
            self._writer.write_table(_pyarrow().table(dict(columns), schema=self._schema))


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        return None
    return pyarrow


def _kind(pyarrow: Any, name: str) -> Any:
    """Return the type of a column."""
    if name in _INTEGERS:
        return pyarrow.int64()
    return pyarrow.bool_() if name in _FLAGS else pyarrow.float64()


def _text(value: Any) -> Any:
    """Return a cell of the CSV: nothing for None, ``true`` and ``false`` for flags."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def as_arrays(reasons: Mapping[int, str]) -> dict[str, np.ndarray]:
    """Reasons as arrays that a file can hold; `from_arrays` undoes it."""
    return {
        "bad": np.array(sorted(reasons), np.int64),
        "reasons": np.array([reasons[scene] for scene in sorted(reasons)], np.str_),
    }


def from_arrays(bad: np.ndarray, reasons: np.ndarray) -> dict[int, str]:
    """Reasons from the arrays of `as_arrays`."""
    return dict(zip(bad.tolist(), reasons.tolist(), strict=True))
