"""Goodness of fit in the results: flags, probabilities, warnings and refused measurements."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.data.stream import scene_batch
from risjax.inference.predict import MeasurementError
from risjax.inference.predict.fit_warning import FitWarning, misfit_text, warn_of_misfits
from risjax.keys import Purpose
from risjax.types import Observation
from tests.inference.predict.conftest import Setting


@pytest.fixture(scope="module")
def observation(setting: Setting) -> Observation:
    """24 scenes of 15 to 20 dB."""
    make = jax.jit(lambda index: scene_batch(setting.config.physics, 0, Purpose.TEST_SCENES, index, 24).observation)
    return jax.device_get(make(jnp.asarray(1)))


def test_valid_scenes_are_explained(setting: Setting, observation: Observation):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # the network is untrained and misses some sources
        found = setting.model.localise(*observation)
    assert not found.no_signal.any()
    assert found.misfit.mean() < 0.5
    assert np.median(found.explained) > 0.9
    assert (found.rank == 36).all()
    assert (found.degrees_of_freedom > 18).all()
    assert (found.degrees_of_freedom <= 36).all()


def test_conjugated_measurements_are_flagged_with_a_list_of_checks(setting: Setting, observation: Observation):
    with pytest.warns(FitWarning, match="check conjugation"):
        found = setting.model.localise(*jax.tree.map(np.conj, observation))
    assert found.misfit.mean() >= 0.9
    assert (found.fit_p_value[found.misfit] < 1e-2).all()
    assert (found.unexplained[found.misfit] > 0.01).all()


def test_another_channel_leaves_no_signal_and_no_confidence(setting: Setting, observation: Observation):
    y, channel, codes = observation[:3]
    with pytest.warns(FitWarning, match="cannot be distinguished from noise"):
        found = setting.model.localise(y, np.roll(channel, 1, axis=0)[..., ::-1], codes)
    assert found.no_signal.mean() >= 0.5
    assert (found.existence[found.no_signal] <= 0.5).all()
    assert (found.signal_p_value[found.no_signal] > 1e-3).all()


def test_a_measurement_of_less_than_full_rank_is_refused(setting: Setting, observation: Observation):
    y, channel, codes = observation[:3]
    with pytest.raises(MeasurementError, match=r"determine \d+ of the 36 dimensions"):
        setting.model.localise(y, channel, np.repeat(codes[:, :1], codes.shape[1], axis=1))


def test_an_ill_conditioned_measurement_is_a_warning_with_the_remedy(setting: Setting, observation: Observation):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        found = setting.model.localise(*observation)
    assert not found.ill_conditioned.any()
    none = np.zeros(len(found.active), bool)
    flagged = found._replace(ill_conditioned=np.arange(len(none)) < 3, misfit=none, no_signal=none)
    with pytest.warns(FitWarning, match=r"in 3 of 24 scenes .* few dimensions .*use codes that differ more"):
        warn_of_misfits(flagged)


def test_one_scene_has_scalars(setting: Setting, observation: Observation):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # the network is untrained and may miss a source
        found = setting.model.localise(*jax.tree.map(lambda array: array[0], observation))
    assert found.misfit.shape == found.explained.shape == ()


@pytest.mark.parametrize(
    ("misfit", "no_signal", "scenes", "warns"),
    [
        (0, 0, 1, False),
        (1, 0, 1, True),
        (1, 0, 64, False),
        (0, 9, 64, False),
        (0, 40, 64, True),
        (0, 0, 0, False),
        (3, 0, 3, True),
        (20, 0, 1000, False),
    ],
)
def test_a_batch_warns_of_more_flags_than_chance(misfit: int, no_signal: int, scenes: int, warns: bool):
    assert (misfit_text(misfit, no_signal, scenes) is not None) == warns
