"""The Python API: sources, shapes, and errors for unusable measurements."""

import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import risjax
from risjax.detection.peak_features import NUM_PEAK_FEATURES
from risjax.inference.predict import MeasurementError, Model
from risjax.inference.predict.localization import COLUMNS
from risjax.physics.array import element_positions, steering
from risjax.pipeline import PEAKS, POSTERIOR, make_peak_posterior
from risjax.types import Geometry
from tests.inference.predict.conftest import EASY, Setting
from tests.inference.released import tiny_release

pytestmark = pytest.mark.filterwarnings("ignore::risjax.inference.predict.fit_warning.FitWarning")
"""An untrained network misses sources, so that its answers do not always explain the snapshots."""


def test_importing_the_package_loads_no_jax() -> None:
    code = "import sys, risjax; print('load' in dir(risjax), 'jax' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False"]


def test_one_scene_and_a_batch_agree(setting: Setting) -> None:
    model, observation = setting.model, setting.scenes.observation
    batch = model.localise(*observation)
    assert batch.position.shape == (9, 2, 3)
    assert isinstance(batch.position, np.ndarray)
    for scene in (0, 5):
        single = model.localise(*jax.tree.map(lambda array, at=scene: array[at].astype(np.complex128), observation))
        assert single.position.shape == (2, 3)
        np.testing.assert_array_equal(single.active, batch.active[scene])
        np.testing.assert_allclose(single.azimuth_deg, batch.azimuth_deg[scene], atol=0.05)
        np.testing.assert_allclose(single.range_m, batch.range_m[scene], rtol=1e-2)


def test_sources_are_found(setting: Setting) -> None:
    """The network is untrained; the sample covariance's share and the likelihood find strong sources all the same."""
    found, truth = setting.model.localise(*setting.scenes.observation), setting.scenes.truth.sources
    hits = 0
    for scene in range(9):
        for azimuth, elevation, _ in np.degrees(truth.position[scene][truth.active[scene]]):
            near = (abs(found.azimuth_deg[scene] - azimuth) < 5) & (abs(found.elevation_deg[scene] - elevation) < 5)
            hits += bool(near.any())
    assert hits >= 0.6 * truth.active.sum()


def test_shared_channel_and_codes(setting: Setting) -> None:
    model, (y, channel, codes) = setting.model, setting.scenes.observation[:3]
    shared = model.localise(y, channel[0], codes[0])
    spread = model.localise(y, np.stack([channel[0]] * 9), np.stack([codes[0]] * 9))
    np.testing.assert_array_equal(shared.position, spread.position)


def test_properties_and_rows(setting: Setting) -> None:
    found = setting.model.localise(*setting.scenes.observation)
    active = found.active
    np.testing.assert_array_equal(found.count, active.sum(1))
    assert np.isnan(found.azimuth_deg[~active]).all()
    np.testing.assert_allclose(np.linalg.norm(found.xyz_m, axis=-1)[active], found.range_m[active], rtol=1e-6)
    np.testing.assert_allclose(
        found.xyz_m[..., 1][active], (found.range_m * np.sin(found.position[..., 1]))[active], rtol=1e-5
    )
    rows = found.rows()
    assert len(rows) == active.sum()
    assert all(tuple(row) == COLUMNS for row in rows)
    scene, slot = np.argwhere(active)[-1]
    assert (rows[-1]["scene"], rows[-1]["range_m"]) == (scene, found.range_m[scene, slot])
    assert [row["source"] for row in rows if row["scene"] == scene] == list(range(active[scene].sum()))
    single = setting.model.localise(*jax.tree.map(lambda array: array[0], setting.scenes.observation))
    assert [row["scene"] for row in single.rows(7)] == [7] * int(single.count)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda y, h, c: (y.real, h, c), r"y has dtype float32, expected complex; .*a\[\.\.\., 0\] \+ 1j"),
        (lambda y, h, c: (np.stack([y.real, y.imag], -1), h, c), "y has dtype float32"),
        (lambda y, h, c: (y, h.real, c), "H has dtype float64"),
        (lambda y, h, c: (y[0, 0], h, c), r"y has shape \[8\], expected \[L, M\] or \[S, L, M\]"),
        (lambda y, h, c: (y, h[:, :5], c), r"H has shape \[2, 5, 36\], expected \[M, N\] = \[8, 36\] or \[2, 8, 36\]"),
        (lambda y, h, c: (y, h.swapaxes(1, 2), c), r"H has shape \[2, 36, 8\]"),
        (lambda y, h, c: (y, h, c[:, :3]), r"codes has shape \[2, 3, 36\], expected \[L, N\] = \[8, 36\]"),
        (lambda y, h, c: (y[0], h, c[0]), r"H has shape \[2, 8, 36\], expected \[M, N\] = \[8, 36\], given"),
        (lambda y, h, c: (y, h[..., :30], c[..., :30]), "N = 30 elements; .* 6 x 6 = 36"),
        (lambda y, h, c: (y[:, :4], h, c[:, :4]), r"L \* M = 4 \* 8 = 32 measurements for N = 36"),
        (lambda y, h, c: (y[:0], h[0], c[0]), "no scenes"),
        (lambda y, h, c: (np.where(np.arange(8) == 3, np.nan, y), h, c), r"y holds 16 values .* first at \[0, 0, 3\]"),
        (lambda y, h, c: (y, h * 1e300, c), "H holds .* beyond complex64"),
        (lambda y, h, c: (y.astype(complex) * 1e-60, h, c), "y holds values below the range of complex64"),
        (
            lambda y, h, c: (y * (np.arange(8) != 3)[:, None], h, c),
            r"y is all zero in snapshot 3; leave it out, together with its code.* \(scene 0\)",
        ),
        (lambda y, h, c: (y * (np.arange(8) != 2), h, c), "y is all zero at antenna 2, whose channel is not"),
        (lambda y, h, c: ([[1j, 2j], [3j]], h, c), r"y is not an array, expected \[L, M\]"),
        (lambda y, h, c: (y, h * np.array([1, 0])[:, None, None], c), "H is all zero in some scenes"),
        (lambda y, h, c: (y.astype(str), h, c), "y has dtype <U"),
        (lambda y, h, c: (y.real + 0j, h, c), "y has no imaginary part"),
        (lambda y, h, c: (y, h.real + 0j, c), "H has no imaginary part"),
        (lambda y, h, c: (y, h, np.angle(c)), "codes holds real numbers, .*phases in radians"),
        (lambda y, h, c: (y, h, 0.5 * c), r"codes holds moduli of 0\.5, expected 1; divide by 0\.5"),
        (lambda y, h, c: (np.ma.masked_greater(np.abs(y), 0) * (1 + 1j), h, c), "y is a masked array with 128 masked"),
        (lambda y, h, c: (y, h, np.ma.array(c, mask=c.real > 2) * np.ma.masked), "codes is a masked array"),
        (lambda y, h, c: (y, h[0].T, c), r"H has shape \[36, 8\].*axes reversed\? np\.transpose\(H\) fits"),
        (lambda y, h, c: (y, h.T, c), r"H has shape \[36, 8, 2\].*axes reversed\?"),
    ],
)
def test_unusable_measurements_are_refused(setting: Setting, change, words: str) -> None:
    y, channel, codes = (array[:2] for array in setting.scenes.observation[:3])
    with pytest.raises(MeasurementError, match=words):
        setting.model.localise(*change(y, channel.astype(np.complex128), codes))


def test_signs_are_codes(setting: Setting) -> None:
    y, channel, _ = (array[0] for array in setting.scenes.observation[:3])
    signs = np.where(np.random.default_rng(0).random((8, 36)) < 0.5, -1, 1)
    assert np.isfinite(setting.model.localise(y, channel, signs).position).all()


def test_measured_codes_of_any_modulus_are_accepted_when_stated(setting: Setting) -> None:
    y, channel, codes = (array[0] for array in setting.scenes.observation[:3])
    found = setting.model.localise(y, channel, 0.9 * codes, codes_measured=True)
    assert np.isfinite(found.position).all()


@pytest.mark.parametrize("limit", [50.0, -0.1, float("nan")])
def test_a_limit_outside_the_probabilities_is_refused(setting: Setting, limit: float) -> None:
    with pytest.raises(ValueError, match="expected a probability from 0 to 1"):
        setting.model.localise(*setting.scenes.observation[:3], min_existence=limit)


def test_a_copy_through_pickle_localises_alike(setting: Setting) -> None:
    copied = pickle.loads(pickle.dumps(setting.model))  # noqa: S301  (bytes of this line)
    assert (copied.name, copied.config, copied.card) == (setting.model.name, setting.model.config, setting.model.card)
    observation = setting.scenes.observation[:3]
    np.testing.assert_array_equal(copied.localise(*observation).position, setting.model.localise(*observation).position)


def test_load_is_the_inverse_of_save(setting: Setting, tmp_path: Path) -> None:
    """Parameters of the network and of both heads bit by bit, the configuration, the card, and the answers."""
    config, peaks = setting.config, make_peak_posterior(setting.config.model)
    head = jax.jit(peaks.init)(jax.random.key(1), jnp.zeros(NUM_PEAK_FEATURES), jnp.ones(NUM_PEAK_FEATURES))
    model = Model("trained", config, {**setting.model.params, PEAKS: head}, card="# tiny\n")
    loaded = risjax.load(model.save(tmp_path / "saved"))
    again = risjax.load(loaded.save(tmp_path / "again"))
    assert {POSTERIOR, PEAKS} <= set(loaded.params)
    for other, folder in ((loaded, "saved"), (again, "again")):
        assert jax.tree.structure(other.params) == jax.tree.structure(dict(model.params))
        for one, two in zip(jax.tree.leaves(other.params), jax.tree.leaves(model.params), strict=True):
            assert one.dtype == two.dtype
            np.testing.assert_array_equal(one, two)
        assert other.name == other.config.weights == str(tmp_path / folder)
        assert other.config.model_copy(update={"weights": config.weights}) == config
        assert other.card == model.card
    observation = setting.scenes.observation
    for one, two in zip(loaded.localise(*observation), model.localise(*observation), strict=True):
        np.testing.assert_array_equal(one, two)


def test_saving_replaces_an_earlier_network(setting: Setting, tmp_path: Path) -> None:
    setting.model.save(tmp_path)
    without_head = {name: part for name, part in setting.model.params.items() if name != POSTERIOR}
    loaded = risjax.load(Model("trained", setting.config, without_head).save(tmp_path))
    assert set(loaded.params) == set(without_head)
    assert loaded.card == ""


def test_unlikely_sources_can_be_left_out(setting: Setting) -> None:
    observation = setting.scenes.observation
    everything = setting.model.localise(*observation)
    if np.isnan(everything.existence[everything.active]).any():
        pytest.skip("this network states no probabilities")
    limit = float(np.median(everything.existence[everything.active]))
    likely = setting.model.localise(*observation, min_existence=limit)
    np.testing.assert_array_equal(likely.active, everything.active & (everything.existence >= limit))
    assert np.isinf(likely.std[~likely.active]).all()


def test_a_loaded_model_describes_itself(setting: Setting) -> None:
    assert "6 x 6 elements, wavelength 0.3 m, at most 2 sources" in repr(setting.model)
    assert setting.model.card.startswith("# tiny")
    with pytest.raises(FileNotFoundError, match="no trained network 'nowhere'"):
        risjax.load("nowhere")


def test_measured_elements_are_used(setting: Setting) -> None:
    """Given the nominal ones it says what it says without; shared by all scenes, or one for each; moved, another."""
    observation, array = setting.scenes.observation, setting.config.physics.array
    plane = element_positions(array)
    nominal, expected = Geometry(plane, np.asarray(array.wavelength_m)), setting.model.localise(*observation)
    found = setting.model.localise(*observation[:3], nominal)
    np.testing.assert_array_equal(found.active, expected.active)
    # Other rounding: a fit moves by a part of its own uncertainty, which is degrees for a weak source.
    apart = np.abs(found.azimuth_deg - expected.azimuth_deg)[found.active]
    assert np.all(apart < 0.05 + 0.5 * expected.std_deg_m[..., 0][found.active])
    each = Geometry(np.stack([plane] * 9), np.full(9, array.wavelength_m))
    np.testing.assert_array_equal(setting.model.localise(*observation[:3], each).position, found.position)
    moved = Geometry(1.1 * plane, np.asarray(array.wavelength_m))
    assert np.nanmax(np.abs(setting.model.localise(*observation[:3], moved).azimuth_deg - found.azimuth_deg)) > 1


@pytest.mark.parametrize(
    ("geometry", "words"),
    [
        (Geometry(np.zeros((35, 2))), r"elements_m has shape \[35, 2\], expected \[36, 2\] or \[9, 36, 2\]"),
        (Geometry(np.zeros((3, 36, 2))), r"elements_m has shape \[3, 36, 2\]"),
        (Geometry(np.full((36, 2), np.nan)), "elements_m holds values that are not finite"),
        (Geometry(np.zeros((36, 2))), "elements_m places all elements at one point"),
        (Geometry(np.arange(72.0).reshape(36, 2)), r"elements_m spans 70 m, expected about 0\.75 m.* not millimetres"),
        (Geometry(None, np.zeros(9)), "a wavelength of 0 m or less"),
        (Geometry(None, np.asarray(0.3 + 0j)), "wavelength_m has dtype complex128, expected real numbers"),
    ],
)
def test_an_unusable_geometry_is_refused(setting: Setting, geometry: Geometry, words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        setting.model.localise(*setting.scenes.observation[:3], geometry)


def test_covariances_are_hermitian_of_trace_n_and_differ(setting: Setting) -> None:
    model, observation = setting.model, setting.scenes.observation
    found = {of: model.covariance(*observation, of=of) for of in ("fit", "network", "effective")}
    size = observation.codes.shape[-1]
    for of, matrices in found.items():
        assert matrices.shape == (9, size, size)
        assert matrices.dtype == np.complex64
        np.testing.assert_allclose(matrices, matrices.conj().swapaxes(-1, -2), atol=1e-5)
        np.testing.assert_allclose(np.trace(matrices, axis1=-2, axis2=-1), size, rtol=1e-4, err_msg=of)
    assert np.linalg.eigvalsh(found["effective"]).min() > 0.5 * setting.config.covariance.loading
    assert np.abs(found["network"] - found["effective"]).max() > 1e-2
    single = model.covariance(*jax.tree.map(lambda array: array[5], observation))
    np.testing.assert_allclose(single, found["fit"][5], rtol=0, atol=0.05 * np.abs(single).max())


def test_without_a_posterior_head_the_fits_covariance_is_that_of_the_reported_sources(
    setting: Setting, tmp_path: Path
) -> None:
    """`localise` and `covariance` share the programs of the fits, so that both see the same fits."""
    model, observation = risjax.load(tiny_release(tmp_path, posterior=False, **EASY)[0]), setting.scenes.observation
    (found, _), matrices = model.estimate(observation, len(observation.snapshots)), model.covariance(*observation)
    assert found.active.any(-1).sum() >= 5
    assert not matrices[~found.active.any(-1)].any()
    for scene in np.flatnonzero(found.active.any(-1)):
        kept = found.active[scene]
        places = jnp.asarray(found.position[scene][kept])
        vectors = np.asarray(steering(setting.config.physics.array, places)).T
        expected = (vectors * np.abs(found.amplitude[scene][kept]) ** 2) @ vectors.conj().T
        expected *= len(expected) / np.trace(expected).real
        np.testing.assert_allclose(matrices[scene], expected, atol=2e-3)


def test_another_kind_of_covariance_is_refused(setting: Setting) -> None:
    with pytest.raises(ValueError, match="fit, network, effective, got 'sample'"):
        setting.model.covariance(*setting.scenes.observation, of="sample")
