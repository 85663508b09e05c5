"""Codes, measurements and geometries that a user supplies: one rule, whatever the door they come through."""

import numpy as np
import pytest

from risjax.config import ArrayConfig, CodebookConfig, ImpairmentsConfig
from risjax.physics.codebook import codes
from risjax.physics.received_arrays import codes_problem, complex_problem, geometry_problem, masked_problem
from risjax.types import Geometry

ARRAY = ArrayConfig()
STEPS = np.random.default_rng(0).integers(0, 8, (16, 144))
PHASE = STEPS * np.pi / 4
CODES = np.exp(1j * PHASE)

WRONG = {
    "radians": (PHASE, r"real numbers, 0 to 5\.498, .*radians\? np\.exp\(1j \* phase\)"),
    "wrapped radians": (np.angle(CODES), "phases in radians"),
    "degrees": (np.degrees(PHASE), r"phases in degrees\? np\.exp\(1j \* np\.radians\(phase\)\)"),
    "indices": (STEPS, r"indices of phase steps\? np\.exp\(2j \* np\.pi \* index / 8\)"),
    "bits": ((np.real(CODES) > 0).astype(int), r"bits\? 1 - 2 \* bits"),
    "complex radians": (PHASE + 0j, "phases in radians"),
    "the real part": (np.real(CODES), "real numbers"),
    "scaled": (CODES / 12, r"moduli of 0\.08333, expected 1; divide by 0\.0833333\?"),
    "attenuated": (CODES * np.where(STEPS == 0, 0.7, 1), r"moduli of 0\.7 to 1, expected 1; if these"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_values_that_are_no_reflection_coefficients_are_refused_with_a_correction(kind: str) -> None:
    given, words = WRONG[kind]
    problem = codes_problem(given)
    assert problem is not None
    assert "codes_measured=True" in problem
    with pytest.raises(ValueError, match=words):
        raise ValueError(problem)
    assert codes_problem(given, measured=True) is None


@pytest.mark.parametrize(
    "given",
    [CODES, CODES.astype(np.complex64), np.round(CODES, 2), np.sign(PHASE - 3).astype(np.int8), np.ones((16, 144))],
    ids=["complex128", "complex64", "two decimals", "signs", "ones"],
)
def test_reflection_coefficients_are_accepted(given: np.ndarray) -> None:
    assert codes_problem(given) is None


@pytest.mark.parametrize("kind", WRONG)
def test_a_codebook_file_follows_the_rule(kind: str, tmp_path) -> None:
    given, words = WRONG[kind]
    np.save(tmp_path / "codes.npy", given)
    with pytest.raises(ValueError, match=f"codebook.path: .*{words}"):
        codes(CodebookConfig(kind="file", path=str(tmp_path / "codes.npy")), ARRAY)
    measured = CodebookConfig(kind="file", path=str(tmp_path / "codes.npy"), measured=True)
    np.testing.assert_array_equal(codes(measured, ARRAY), given)


def test_a_codebook_file_may_hold_signs(tmp_path) -> None:
    np.save(tmp_path / "codes.npy", np.sign(PHASE - 3).astype(np.int8))
    read = codes(CodebookConfig(kind="file", path=str(tmp_path / "codes.npy")), ARRAY)
    assert read.dtype == np.complex128
    assert set(np.unique(read)) == {-1, 1}


def test_measurements_have_an_imaginary_part() -> None:
    assert complex_problem(CODES) is None
    assert "dtype float64, expected complex" in (complex_problem(np.real(CODES)) or "")
    assert "no imaginary part" in (complex_problem(np.real(CODES) + 0j) or "")


def test_masked_values_are_refused_and_an_empty_mask_is_accepted() -> None:
    assert masked_problem(CODES) is None
    assert masked_problem(np.ma.array(CODES)) is None
    hidden = np.ma.array(CODES)
    hidden[4] = np.ma.masked
    assert "144 masked values" in (masked_problem(hidden) or "")
    assert "leave out the snapshots" in (masked_problem(hidden) or "")


PLANE = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0)), -1).reshape(-1, 2) * 0.15


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        (Geometry(PLANE * 1000), ("elements_m", "spans 1650 m, expected about 1.65 m")),
        (Geometry(PLANE * 0), ("elements_m", "places all elements at one point")),
        (Geometry(np.stack([PLANE, PLANE * 0])), ("elements_m", "places all elements at one point")),
        (Geometry(None, np.asarray(300.0)), ("wavelength_m", "holds 300 m, expected about 0.3 m")),
    ],
)
def test_a_geometry_in_other_units_is_refused(geometry: Geometry, expected: tuple[str, str]) -> None:
    problem = geometry_problem(geometry, ARRAY)
    assert problem is not None
    assert problem[0] == expected[0]
    assert expected[1] in problem[1]


def test_a_measured_geometry_is_accepted() -> None:
    assert geometry_problem(Geometry(1.3 * PLANE, np.asarray(0.25)), ARRAY) is None
    assert geometry_problem(Geometry(), ARRAY) is None


def test_impairments_that_change_the_modulus_of_known_codes_state_that_they_were_measured() -> None:
    assert not ImpairmentsConfig(amplitude_error_db=1.0).are_codes_measured
    assert not ImpairmentsConfig(phase_error_deg=9.0, known=("phase_error",)).are_codes_measured
    assert ImpairmentsConfig(amplitude_error_db=1.0, known=("amplitude_error",)).are_codes_measured
