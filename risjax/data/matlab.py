"""Opening MATLAB files of version 5, read through scipy: matrices, structs and cells.

``meas.Y`` is the field Y of the struct meas. A cell array, and a field of a struct array, whose entries have one shape
are stacked along a new first axis: ``Y{s}`` [L, M] is [S, L, M].
"""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from risjax.data.layouts import SceneFileError, check_size
from risjax.data.variables import OpenFile, Variable, in_memory


@contextlib.contextmanager
def open_mat5(file: Path) -> Iterator[OpenFile]:
    """The variables of a file, each read whole when it is asked for.

    Raises:
        SceneFileError: here or while a variable is read: a damaged file, or a variable without numbers.
    """
    import scipy.io

    try:
        sizes = {name: math.prod(shape) for name, shape, _ in scipy.io.whosmat(file)}
    except Exception as error:  # scipy's reader raises nearly anything on damaged bytes
        raise _damage(file, error) from error
    loaded: dict[str, Any] = {}

    def find(name: str) -> Variable | None:
        root, *fields = name.split(".")
        if root not in sizes:
            return None
        if root not in loaded:
            check_size({root: 16 * sizes[root]}, str(file))
            try:
                loaded.update(scipy.io.loadmat(file, variable_names=[root]))
            except Exception as error:  # as above
                raise _damage(file, error) from error
        value = loaded[root]
        for field in fields:
            if not isinstance(value, np.ndarray) or field not in (value.dtype.names or ()):
                return None
            value = _only(value[field])
        return in_memory(name, _numbers(value, name, file), drops_axes=True)

    yield OpenFile(list(sizes), find)


def _damage(file: Path, error: Exception) -> SceneFileError:
    return SceneFileError(f"{file}: not a MATLAB v5 file, or a truncated or damaged one ({error})")


def _only(value: Any) -> Any:
    """The entry of a struct or a cell of one entry; others unchanged."""
    return value.flat[0] if isinstance(value, np.ndarray) and value.dtype == object and value.size == 1 else value


def _numbers(value: Any, name: str, file: Path) -> np.ndarray:
    value = _only(value)
    if isinstance(value, np.ndarray) and value.dtype == object and value.size:
        entries = [np.asarray(_only(entry)) for entry in value.reshape(-1, order="F")]
        shapes = {entry.shape for entry in entries}
        if len(shapes) > 1:
            raise SceneFileError(
                f"{file}: {name} is a cell array of the shapes {', '.join(str(list(s)) for s in sorted(shapes))}, "
                "expected one shape"
            )
        value = np.stack(entries)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fciub":
        fields = getattr(getattr(value, "dtype", None), "names", None)
        inside = f" with the fields {', '.join(fields)}; name one as {name}.{fields[0]}" if fields else ""
        raise SceneFileError(f"{file}: {name} is a struct, a cell or text, expected a numeric array{inside}")
    return value
