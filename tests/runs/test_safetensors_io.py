"""Weights on disk: any nested dict comes back the same, and what cannot be trusted is refused."""

from pathlib import Path

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.runs.safetensors_io import WeightsError, read_weights, write_weights

NESTED = {
    "encoder": {"blocks": {0: {"kernel": jnp.ones((2, 3))}, 10: {"kernel": jnp.zeros(())}}},
    "half": {"bias": jnp.asarray([1.5, -2.0], jnp.bfloat16), "empty": jnp.zeros((0, 4), jnp.float16)},
    "existence": {"knots": jnp.arange(4), "used": jnp.asarray([True, False])},
}


def test_nested_dicts_round_trip(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", NESTED, {"name": "x"})
    found, metadata = read_weights(tmp_path / "w.safetensors")
    chex.assert_trees_all_equal(found, NESTED)
    chex.assert_trees_all_equal_dtypes(found, NESTED)
    assert metadata == {"name": "x", "format": "risjax weights 1"}
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"], "nothing is left beside it"


def test_other_libraries_read_the_file(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    write_weights(tmp_path / "w.safetensors", {"a": {1: np.arange(3.0, dtype=np.float32)}})
    np.testing.assert_array_equal(load_file(tmp_path / "w.safetensors")["a.1"], [0, 1, 2])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"a.b": jnp.ones(1)}, "expected a name without dots"),
        ({"a": {"7": jnp.ones(1)}}, "expected a name without dots"),
        ({-1: jnp.ones(1)}, "expected a name without dots"),
        ({"a": [1.0]}, "a is a list, expected an array"),
        ({"a": {}}, "no arrays"),
    ],
)
def test_ambiguous_keys_and_empty_trees_are_refused(tmp_path: Path, params: dict, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        write_weights(tmp_path / "w.safetensors", params)
    assert not list(tmp_path.iterdir())


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_weights(path)
    write_weights(path, NESTED)
    content = path.read_bytes()
    for damaged in (content[:-3], content[:40], b"", b"\xff" * 100):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="damaged"):
            read_weights(path)
    save_file({"a": np.ones(1)}, path)
    with pytest.raises(WeightsError, match="format is None"):
        read_weights(path)
