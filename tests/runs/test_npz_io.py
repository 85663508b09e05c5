"""Named arrays of a run: written and read back, and not read from damaged files or under another mark."""

from pathlib import Path

import numpy as np
import pytest

from risjax.runs.npz_io import read_arrays, read_marked_arrays, write_arrays, write_marked_arrays

ARRAYS = {"a/b": np.random.default_rng(0).normal(size=(40, 50)), "count": np.asarray(3)}


def test_arrays_are_read_back_under_the_same_mark_alone(tmp_path: Path):
    path = tmp_path / "kept.npz"
    assert read_arrays(path) == {}
    write_marked_arrays(path, "settings", ARRAYS)
    read = read_marked_arrays(path, "settings")
    assert read.keys() == ARRAYS.keys()
    np.testing.assert_array_equal(read["a/b"], ARRAYS["a/b"])
    assert read_marked_arrays(path, "other settings") == {}
    write_arrays(path, ARRAYS)
    assert read_marked_arrays(path, "settings") == {}, "a file without a mark"


@pytest.mark.parametrize("fault", ["truncated", "overwritten", "empty", "text"])
def test_a_damaged_file_has_no_arrays(tmp_path: Path, fault: str):
    path = tmp_path / "kept.npz"
    write_arrays(path, ARRAYS)
    content = path.read_bytes()
    damaged = {
        "truncated": content[: len(content) // 2],
        "overwritten": content[:200] + bytes(100) + content[300:],
        "empty": b"",
        "text": b"not an archive",
    }
    path.write_bytes(damaged[fault])
    assert read_arrays(path) == {}
