"""Scene files of MATLAB, versions 5 and 7.3."""

import numpy as np
import pytest
import scipy.io

from risjax.data.files import read_scenes
from risjax.data.layouts import SceneFileError
from tests.data.small import ORIGINAL, sources_of, write_npz


def test_matlab_v5_files(arrays, tmp_path):
    """MATLAB has doubles, matrices and no booleans."""
    matlab = {name: (array.astype(float) if array.dtype.kind in "bf" else array) for name, array in arrays.items()}
    scipy.io.savemat(tmp_path / "a.mat", matlab | {"comment": "by hand", "extra": {"a": 1}})
    scenes, expected = read_scenes(tmp_path / "a.mat"), read_scenes(write_npz(tmp_path / "a.npz", arrays))
    np.testing.assert_array_equal(scenes.observation.snapshots, expected.observation.snapshots)
    np.testing.assert_array_equal(scenes.observation.codes, expected.observation.codes)
    np.testing.assert_array_equal(sources_of(scenes).active, sources_of(expected).active)
    np.testing.assert_array_equal(scenes.snr_db, expected.snr_db)
    (tmp_path / "bad.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:300])
    with pytest.raises(SceneFileError, match=r"bad\.mat: not a MATLAB v5 file"):
        read_scenes(tmp_path / "bad.mat")
    scipy.io.savemat(tmp_path / "struct.mat", matlab | {"codes": {"a": 1}})
    with pytest.raises(SceneFileError, match="codes is a struct, a cell or text"):
        read_scenes(tmp_path / "struct.mat")


def test_matlab_v5_files_of_the_originals_layout(original, tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {name: array.astype(float) for name, array in original.items()})
    scenes, expected = read_scenes(tmp_path / "a.mat"), read_scenes(ORIGINAL / "shard.npz")
    np.testing.assert_array_equal(scenes.observation.channel, expected.observation.channel)
    np.testing.assert_array_equal(sources_of(scenes).position, sources_of(expected).position)


def test_matlab_v73_files(arrays, tmp_path):
    h5py = pytest.importorskip("h5py", reason="MATLAB v7.3 files need h5py (pip install risjax[matlab])")
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as archive:
        for name, array in arrays.items():
            value = array.T
            if array.dtype.kind == "c":
                value = np.zeros(array.T.shape, [("real", "f4"), ("imag", "f4")])
                value["real"], value["imag"] = array.T.real, array.T.imag
            archive[name] = np.atleast_2d(value.astype("u1") if array.dtype.kind == "b" else value)
    scenes = read_scenes(tmp_path / "a.mat")
    np.testing.assert_array_equal(scenes.observation.snapshots, arrays["snapshots"])
    np.testing.assert_array_equal(sources_of(scenes).active, arrays["active"])


def test_matlab_v73_without_h5py_is_an_error_that_names_the_package(tmp_path):
    try:
        import h5py  # noqa: F401
    except ImportError:
        (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
        with pytest.raises(SceneFileError, match=r"pip install 'risjax\[matlab\]'"):
            read_scenes(tmp_path / "a.mat")
    else:
        pytest.skip("h5py is installed")
