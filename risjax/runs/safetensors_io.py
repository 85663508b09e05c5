"""Parameters as a ``.safetensors`` file: named arrays after a JSON header, without executable content.

Any nested dict of arrays is written and read back unchanged: keys are joined with dots, and a key of digits only is an
integer (flax numbers the modules of a list).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.flax import save

from risjax.runs.run_directory import write_atomically

FORMAT = "risjax weights 1"


class WeightsError(ValueError):
    """Weights that cannot be written, read or used; the message contains the reason and what is expected."""


def write_weights(path: Path, params: Mapping[Any, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write a nested dict of arrays, atomically.

    Args:
        path: the file.
        params: nested dict with text or non-negative integers as keys and arrays as leaves.
        metadata: texts for the header, in addition to the format's name.

    Raises:
        WeightsError: a key that dots would make ambiguous, a leaf that is not an array, or no array at all.
    """
    arrays = {name: jnp.asarray(leaf) for name, leaf in _flat(params, ())}
    if not arrays:
        raise WeightsError("got no arrays, expected at least one")
    write_atomically(path, save(arrays, metadata={**(metadata or {}), "format": FORMAT}))


def read_weights(path: Path) -> tuple[dict[Any, Any], dict[str, str]]:
    """Return the nested dict that `write_weights` wrote, and the texts of the header.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: it is damaged, or not of this format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected weights in a .safetensors file")
    try:
        with safe_open(path, framework="numpy") as file:  # "flax" compiles a program for each shape
            metadata = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: not a .safetensors file, or truncated or damaged ({error}); copy it again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{path}: format is {metadata.get('format')!r}, expected {FORMAT!r}")
    params: dict[Any, Any] = {}
    for name, array in arrays.items():
        *parents, last = (int(part) if part.isdigit() else part for part in name.split("."))
        node = params
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = array
    return jax.device_put(params), metadata


def flat_shapes(params: Mapping[Any, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes by dotted name."""
    return {name: tuple(leaf.shape) for name, leaf in _flat(params, ())}


def _flat(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            if isinstance(key, bool) or not isinstance(key, str | int) or not _is_plain(key):
                raise WeightsError(
                    f"got the key {key!r} at {path}, expected a name without dots or a non-negative integer"
                )
            yield from _flat(child, (*path, key))
    elif isinstance(node, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct):
        yield ".".join(map(str, path)), node
    else:
        raise WeightsError(f"{'.'.join(map(str, path))} is a {type(node).__name__}, expected an array")


def _is_plain(key: str | int) -> bool:
    if isinstance(key, int):
        return key >= 0
    return bool(key) and "." not in key and not key.isdigit()
