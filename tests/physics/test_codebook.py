"""Codebooks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from risjax.config import ArrayConfig, CodebookConfig, PhysicsConfig
from risjax.physics.codebook import balanced_frequencies, codes, draw_codes, quantise_phase

ARRAY = ArrayConfig()


@pytest.mark.parametrize("kind", ["dft", "random", "hadamard", "original"])
@pytest.mark.parametrize("bits", [1, 2, 3, None])
def test_codes_have_unit_modulus_and_the_phases_of_their_shifters(kind, bits):
    matrix = codes(CodebookConfig(kind=kind, phase_bits=bits), ARRAY)
    np.testing.assert_allclose(np.abs(matrix), 1, atol=1e-12)
    if bits is not None:
        steps = np.angle(matrix) / (2 * np.pi) * 2**bits
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)


@pytest.mark.parametrize("kind", ["dft", "random", "hadamard", "original"])
def test_codes_are_linearly_independent(kind):
    assert np.linalg.matrix_rank(codes(CodebookConfig(kind=kind), ARRAY)) == 16


@pytest.mark.parametrize("count", [5, 31, 144])
def test_any_number_of_walsh_codes_is_linearly_independent(count):
    assert np.linalg.matrix_rank(codes(CodebookConfig(kind="hadamard", num_snapshots=count), ARRAY)) == count


def test_dft_codes_are_balanced_in_both_axes():
    frequencies = balanced_frequencies(ARRAY, 16)
    for axis in (0, 1):
        np.testing.assert_array_equal(np.unique(frequencies[:, axis]), [0, 3, 6, 9])
    assert len(np.unique(frequencies, axis=0)) == 16


@pytest.mark.parametrize("count", [1, 2, 5, 7, 13, 16, 24, 37, 144])
def test_any_number_of_dft_codes_are_distinct_columns(count):
    frequencies = balanced_frequencies(ARRAY, count)
    assert len(np.unique(frequencies, axis=0)) == count
    matrix = codes(CodebookConfig(kind="dft", num_snapshots=count, phase_bits=None), ARRAY)
    np.testing.assert_allclose(matrix @ matrix.conj().T, 144 * np.eye(count), atol=1e-9)


def test_more_dft_codes_than_columns_are_refused():
    with pytest.raises(ValueError, match="144 elements"):
        codes(CodebookConfig(kind="dft", num_snapshots=145), ARRAY)


def test_ties_are_quantised_one_way():
    step = np.pi / 4
    np.testing.assert_allclose(quantise_phase(np.array([0.5, 0.5 - 1e-12, -0.5]) * step, 3) / step, [1, 1, 0])


def test_fresh_codes_differ_from_scene_to_scene_and_shared_ones_do_not():
    fresh = PhysicsConfig(codebook=CodebookConfig(kind="random_each_scene"))
    channel = jnp.zeros((16, 144), jnp.complex64)
    first, second = (np.asarray(draw_codes(jax.random.key(k), fresh, channel)) for k in (0, 1))
    assert (first != second).any(axis=1).all(), "a code that two scenes share"
    shared = PhysicsConfig(codebook=CodebookConfig(kind="random"))
    first, second = (draw_codes(jax.random.key(k), shared, channel) for k in (0, 1))
    np.testing.assert_array_equal(first, second)
    with pytest.raises(ValueError, match="random_each_scene makes codes for each scene, expected common codes"):
        codes(fresh.codebook, ARRAY)


@pytest.mark.parametrize(
    ("kind", "function"), [("hadamard", "hadamard_codes"), ("random_each_scene", "random_codes_of_scene")]
)
def test_codes_of_another_shape_are_refused_with_the_place_of_their_code(monkeypatch, kind, function):
    monkeypatch.setattr(f"risjax.physics.codebook.{function}", lambda *_: np.ones((2, 3)))
    physics = PhysicsConfig(codebook=CodebookConfig(kind=kind))
    with pytest.raises(ValueError, match=rf"made codes of shape \[2, 3\], expected .* \[16, 144\]; mend .*{function}"):
        draw_codes(jax.random.key(0), physics, jnp.zeros((16, 144), jnp.complex64))


def test_codes_of_a_file(tmp_path):
    wanted = np.exp(1j * np.random.default_rng(0).uniform(0, 6, (16, 144)))
    np.save(tmp_path / "codes.npy", wanted)
    np.testing.assert_array_equal(codes(CodebookConfig(kind="file", path=str(tmp_path / "codes.npy")), ARRAY), wanted)
    with pytest.raises(ValueError, match=r"has shape \[16, 144\], expected \[num_snapshots, N\] = \[8, 144\]"):
        codes(CodebookConfig(kind="file", num_snapshots=8, path=str(tmp_path / "codes.npy")), ARRAY)


def test_codes_of_a_file_that_needs_unpickling_are_refused(tmp_path):
    np.save(tmp_path / "codes.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read"):
        codes(CodebookConfig(kind="file", path=str(tmp_path / "codes.npy")), ARRAY)


def test_a_path_goes_with_kind_file_only():
    with pytest.raises(ValidationError, match="path goes with kind = file"):
        CodebookConfig(path="codes.npy")
    with pytest.raises(ValidationError, match="path goes with kind = file"):
        CodebookConfig(kind="file")
