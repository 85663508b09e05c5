"""Scene files: reading, and the errors of bad ones."""

import io
import struct
import zipfile

import numpy as np
import pytest

from risjax.data import layouts
from risjax.data.files import read_scenes
from risjax.data.layouts import SceneFileError
from tests.data.small import ORIGINAL, factor_of, sources_of, with_nan, write_npz


def test_written_scenes_are_read_back(arrays, tmp_path):
    scenes = read_scenes(write_npz(tmp_path / "a.npz", arrays))
    np.testing.assert_array_equal(scenes.observation.snapshots, arrays["snapshots"])
    assert scenes.observation.codes.shape == (6, 4, 4)
    np.testing.assert_array_equal(sources_of(scenes).position, arrays["position"])
    np.testing.assert_array_equal(sources_of(scenes).active, arrays["active"])
    np.testing.assert_array_equal(scenes.noise_variance, arrays["noise_variance"])
    np.testing.assert_allclose(factor_of(scenes), arrays["label_factor"], rtol=1e-5)


def test_measurements_without_labels_are_scenes_without_sources(arrays, tmp_path):
    scenes = read_scenes(
        write_npz(tmp_path / "a.npz", {name: arrays[name] for name in ("snapshots", "channel", "codes")})
    )
    assert scenes.sources is None
    assert scenes.snr_db is None
    assert scenes.num_scenes == 6


def test_limit_cuts_every_array(arrays, tmp_path):
    scenes = read_scenes(write_npz(tmp_path / "a.npz", arrays), limit=2)
    lengths = {
        len(array)
        for array in (*scenes.observation[:3], *sources_of(scenes), np.asarray(scenes.snr_db), factor_of(scenes))
    }
    assert lengths == {2}
    with pytest.raises(ValueError, match="limit"):
        read_scenes(tmp_path / "a.npz", limit=0)


@pytest.mark.parametrize(("name", "count"), [("scenes", 160), ("clean", 8), ("shard", 4)])
def test_the_originals_files(name, count):
    scenes = read_scenes(ORIGINAL / f"{name}.npz")
    assert scenes.num_scenes == count
    assert sources_of(scenes).position.shape == (count, 5, 3)
    assert (sources_of(scenes).position[sources_of(scenes).active][:, 2] >= 0.5).all()
    assert np.isnan(sources_of(scenes).amplitude[sources_of(scenes).active]).all() == (name != "clean")


def test_the_originals_label_is_normalised_to_trace_n(original):
    factor = factor_of(read_scenes(ORIGINAL / "shard.npz"))
    covariance = original["R"][..., 0] + 1j * original["R"][..., 1]
    np.testing.assert_allclose(factor @ factor.conj().swapaxes(1, 2), covariance, atol=2e-4)
    np.testing.assert_allclose(np.sum(np.abs(factor) ** 2, axis=(1, 2)), 144, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"channel": None}, "channel is missing"),
        (
            lambda a: {"snapshots": with_nan(a["snapshots"])},
            r"snapshots holds 1 values that are not finite, the first at",
        ),
        (lambda a: {"channel": a["channel"][:, :1]}, r"channel has shape \[6, 1, 4\], expected \[S, M, N\] with M = 2"),
        (lambda a: {"codes": a["codes"][:3]}, r"codes has shape \[3, 4\].* with L = 4 as in snapshots"),
        (lambda a: {"snapshots": a["snapshots"].real}, "snapshots has dtype float32, expected complex"),
        (lambda a: {"active": a["active"].astype(str)}, "active has dtype <U5, expected bool"),
        (lambda a: {"active": a["active"] + 1}, "active holds int64, expected bool"),
        (lambda a: {"snapshots": a["snapshots"][0, 0]}, r"snapshots has shape \[2\], expected \[S, L, M\] or \[L, M\]"),
        (lambda a: {"snapshots": a["snapshots"][0]}, r"channel has shape \[6, 2, 4\], .* with S = 1 as in snapshots"),
        (lambda a: {"snapshots": a["snapshots"].real + 0j}, "snapshots has no imaginary part"),
        (lambda a: {"channel": a["channel"].real}, "channel has dtype float32, expected complex"),
        (lambda a: {"codes": np.angle(a["codes"])}, r"codes holds real numbers, .* phases in radians\?"),
        (lambda a: {"codes": 0.5 * a["codes"]}, r"codes holds moduli of 0\.5, expected 1; divide by 0\.5"),
        (
            lambda a: {"channel": a["channel"].T},
            r"channel has shape \[4, 2, 6\].*axes reversed\? axes=\{channel: NMS\} fits",
        ),
        (
            lambda a: {n: a[n].T for n in ("snapshots", "channel", "codes")},
            r"axes reversed\? axes=\{snapshots: MLS, channel",
        ),
        (
            lambda a: {"position": np.degrees(a["position"])},
            r"position holds an azimuth of .* rad, expected at most pi/2",
        ),
        (
            lambda a: {"position": a["position"] * [1, 1, 1000]},
            r"a range of \d+.* m, expected at most 1000 m; in milli",
        ),
        (lambda a: {"snapshots": a["snapshots"][:0]}, "S = 0"),
        (lambda a: {"position": a["position"] * 0}, "ranges are positive"),
    ],
)
def test_a_wrong_array_is_reported_with_what_it_is_and_what_is_expected(arrays, tmp_path, change, message):
    path = write_npz(tmp_path / "bad.npz", arrays, **change(arrays))
    with pytest.raises(SceneFileError, match=message) as error:
        read_scenes(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"H_full": a["H_full"][..., :1]}, r"H_full has shape .* expected \[S, M, N, 2\]"),
        (lambda a: {"ptr": a["ptr"][:, :14]}, r"ptr has shape \[4, 14\].*multiple of three"),
        (lambda a: {"K": a["K"] + 5}, "ptr has 5 slots"),
        (lambda a: {"codes": a["codes"][:, :8]}, "L = 16 as in y"),
        (lambda a: {"y": a["y"].astype(str)}, "y has dtype <U32, expected complex numbers"),
    ],
)
def test_a_wrong_array_of_the_originals_layout_is_reported(original, tmp_path, change, message):
    with pytest.raises(SceneFileError, match=message):
        read_scenes(write_npz(tmp_path / "bad.npz", original, **change(original)))


def test_every_problem_is_listed_at_once(arrays, tmp_path):
    path = write_npz(tmp_path / "bad.npz", arrays, channel=None, codes=None)
    with pytest.raises(SceneFileError, match="channel is missing; codes is missing"):
        read_scenes(path)
    write_npz(path, arrays, snr_db=np.zeros(5), position=np.zeros((6, 2)))
    with pytest.raises(SceneFileError, match=r"position has shape .*; snr_db has shape \[5\]"):
        read_scenes(path)
    write_npz(path, arrays, snapshots=with_nan(arrays["snapshots"]), channel=with_nan(arrays["channel"]))
    with pytest.raises(SceneFileError, match=r"snapshots holds 1 values .*; channel holds 1 values"):
        read_scenes(path)


def test_truncated_and_foreign_files(arrays, tmp_path):
    whole = write_npz(tmp_path / "a.npz", arrays).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"hello", whole[: len(whole) // 3] + whole[len(whole) // 2 :]):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(SceneFileError, match=r"bad\.npz"):
            read_scenes(tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError, match="no such scene file"):
        read_scenes(tmp_path / "none.npz")
    with pytest.raises(SceneFileError, match="not a scene file: it contains weights"):
        read_scenes(write_npz(tmp_path / "other.npz", {"weights": np.ones(3)}))


def test_flipped_bytes_are_detected_by_the_archives_checksum(arrays, tmp_path):
    path = write_npz(tmp_path / "a.npz", arrays)
    content = bytearray(path.read_bytes())
    start = content.index(arrays["snapshots"].tobytes()[:16])
    content[start + 3] ^= 0x10
    path.write_bytes(bytes(content))
    with pytest.raises(SceneFileError, match="CRC"):
        read_scenes(path)


def test_object_arrays_are_refused_unopened(arrays, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    path = write_npz(tmp_path / "bad.npz", arrays, codes=np.array([Bomb()], dtype=object))
    with pytest.raises(SceneFileError, match="codes is an object array, which only unpickling could read; refused"):
        read_scenes(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("y.npy", bytes(1000))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 0xFFFFFFF0)  # 4 GiB, thrice
    path.write_bytes(bytes(content))
    with pytest.raises(SceneFileError):
        read_scenes(path)


def test_an_archive_that_unpacks_to_too_many_bytes_is_refused(arrays, tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "MAX_UNPACKED_BYTES", 1 << 20)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, **(arrays | {"noise_variance": np.zeros(4 << 20, np.uint8)}))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(SceneFileError, match=r"unpack to \d+ bytes; the most allowed is 1048576"):
        read_scenes(path)


def test_a_header_that_claims_more_than_the_member_holds_is_refused(arrays, tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<c8", "fortran_order": False, "shape": (1 << 40,)})
    path = write_npz(tmp_path / "bad.npz", {name: array for name, array in arrays.items() if name != "snapshots"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("snapshots.npy", header.getvalue() + bytes(64))
    with pytest.raises(SceneFileError, match=r"snapshots claims shape \[1099511627776\]"):
        read_scenes(path)
