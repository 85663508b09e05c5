"""The stage ``design``: resumes to the same codes, writes a file that ``kind: file`` takes, compares codebooks."""

import numpy as np
import pytest

from risjax.config.io import apply_overrides
from risjax.experiments.code_design import DesignError, design, stage
from risjax.physics.codebook import codes as common_codes
from risjax.report.reading import read_run
from risjax.report.sections import make_sections
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from tests.tiny import tiny_config

SMALL = {"design.steps": 4, "design.channels": 2, "design.scenes": 6, "physics.codebook.design.steps": 2}


@pytest.fixture(scope="module")
def config():
    return apply_overrides(tiny_config(), SMALL)


def test_an_interrupted_design_resumes_to_the_same_codes(config, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "CHUNK", 2)
    quiet = Terminal(quiet=True)
    whole = design(config, RunDirectory(tmp_path / "whole"), quiet)
    directory = RunDirectory(tmp_path / "torn")
    write = stage._write

    def write_and_stop(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "_write", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        design(config, directory, quiet)
    monkeypatch.setattr(stage, "_write", write)
    again = design(config, directory, quiet)
    assert again == whole
    codes = [np.load(tmp_path / name / "codes.npy") for name in ("whole", "torn")]
    np.testing.assert_array_equal(*codes)
    _check_result(whole, codes[0], tmp_path / "whole", config)


def _check_result(result, codes, path, config):
    assert len(result["values"]) == 4
    assert set(result["codebooks"]) == {"dft", "random", "designed", "each_channel"}
    assert result["codebooks"]["random"]["received"]["value"] > 0
    assert set(result["minus_dft"]["designed"]) == {"f1_3d", "f1_angle", "gospa_m", "k_accuracy", "received"}
    kind = {"physics.codebook.kind": "file", "physics.codebook.path": str(path / "codes.npy")}
    np.testing.assert_array_equal(
        common_codes(apply_overrides(config, kind).physics.codebook, config.physics.array), codes
    )
    assert (path / "figures" / "design_codes.png").stat().st_size > 1000
    assert "design" in [section.anchor for section in make_sections(read_run(RunDirectory(path)))]


def test_the_received_power_is_refused(config, tmp_path):
    received = apply_overrides(config, {"physics.scene.snr_reference": "received"})
    with pytest.raises(DesignError, match="expected transmitted"):
        design(received, RunDirectory(tmp_path), Terminal(quiet=True))
