"""The compilation cache in processes like a user's: a program of risjax's own is compiled once, whatever happens."""

import json
import os
import re
import stat
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from risjax.runs import cache_entries
from risjax.runs.cache_entries import prune, remove_damaged
from risjax.runs.compile_cache import cache_root, cache_text, processor_features, programs_folder

# Two programs: before the cache is enabled, and after it.
PROGRAM = """
import json, sys, warnings
warnings.simplefilter("default")
import risjax, jax, jax.numpy as jnp
from risjax.runs.compilation import Compilation
from risjax.runs.compile_cache import enable
jax.jit(jnp.cos)(1.0)
exec(sys.argv[1])
problem = enable()
with Compilation(lambda name: None) as compilation:
    values = jax.jit(lambda x: jnp.linalg.eigh(x @ x.T + jnp.eye(3))[0])(jnp.arange(9.0).reshape(3, 3))
print(json.dumps({"values": values.tolist(), "read": compilation.num_read, "problem": problem,
                  "folder": jax.config.jax_compilation_cache_dir}))
"""
LIMITED_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))"


def start(root: object, before: str = "", **variables: str) -> subprocess.Popen[str]:
    """A process that compiles with the cache at ``root``; ``before`` runs just before the cache is enabled."""
    environment = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    environment |= {"RISJAX_CACHE_DIR": str(root)} | variables
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, before],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def result(process: subprocess.Popen[str]) -> dict:
    """Return the output of a process, which must not contain anything else, such as a warning."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == ""
    return json.loads(out)


def entries(root: Path) -> list[Path]:
    return sorted(root.rglob("*-cache"))


def age(paths: list[Path]) -> None:
    """Let entries look older than `cache_entries._SETTLED_S`."""
    for path in paths:
        os.utime(path, (time.time() - 60, time.time() - 60))


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache that a first process has filled, and that process's result."""
    root = tmp_path_factory.mktemp("warm")
    return root, result(start(root))


def test_a_second_process_reads_what_the_first_one_compiled(warm):
    root, first = warm
    assert (first["read"], first["problem"]) == (0, None)
    assert Path(first["folder"]) == programs_folder(root)
    assert stat.S_IMODE(Path(first["folder"]).stat().st_mode) & 0o077 == 0, "others cannot add programs"
    second = result(start(root))
    assert second["read"] == len(entries(root)) > 0
    assert second["values"] == first["values"]


def test_two_processes_start_together_on_an_empty_cache(tmp_path, warm):
    both = [start(tmp_path) for _ in range(2)]
    assert all(result(process)["values"] == warm[1]["values"] for process in both)
    assert len(entries(tmp_path)) == len(entries(warm[0]))


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"x" * 200])
def test_damaged_entries_are_compiled_again_silently_and_replaced_after_a_check(tmp_path, warm, damage):
    root = tmp_path  # JAX's keys contain the folder, so that a copy of a cache is of no use
    result(start(root))
    for path in entries(root):
        path.write_bytes(damage(path.read_bytes()))
    age(entries(root))
    checked = programs_folder(root) / cache_entries._CHECKED
    checked.touch()
    found = result(start(root))
    assert (found["read"], found["values"]) == (0, warm[1]["values"])
    checked.unlink()
    assert result(start(root))["read"] == 0, "damaged entries were removed, and written again"
    assert result(start(root))["read"] == len(entries(warm[0]))


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of the size of files")
def test_a_full_disk_does_no_harm(tmp_path, warm):
    found = result(start(tmp_path, LIMITED_FILES))
    assert (found["read"], found["values"]) == (0, warm[1]["values"])
    age(entries(tmp_path))
    (programs_folder(tmp_path) / cache_entries._CHECKED).unlink()
    assert result(start(tmp_path))["read"] == 0, "torn entries were removed, and written again"
    assert result(start(tmp_path))["read"] > 0


def test_a_folder_that_cannot_be_written_gives_one_sentence(tmp_path, warm):
    blocked = tmp_path / "file"
    blocked.write_text("")
    found = result(start(blocked / "cache"))
    assert found["values"] == warm[1]["values"]
    assert found["folder"] is None
    assert re.fullmatch(r"compiled programs are not kept .*file.*; set RISJAX_CACHE_DIR to .*", found["problem"])


@pytest.mark.parametrize("off", ["off", ""])
def test_it_can_be_switched_off(tmp_path, off, monkeypatch):
    found = result(start(off, XDG_CACHE_HOME=str(tmp_path)))
    assert (found["folder"], found["problem"], entries(tmp_path)) == (None, None, [])


def test_the_users_own_cache_of_jax_wins(tmp_path):
    found = result(start(tmp_path / "ours", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own")))
    assert found["folder"] == str(tmp_path / "own")
    assert not (tmp_path / "ours").exists()


def test_another_processor_has_another_folder(tmp_path):
    cpuinfo, other = tmp_path / "a", tmp_path / "b"
    text = "processor\t: 0\nmodel\t\t: 85\ncpu MHz\t\t: {mhz}\nflags\t\t: sse2 avx2{more}\n\n"
    cpuinfo.write_text(text.format(mhz=2000, more="") * 2)
    other.write_text(text.format(mhz=3000, more=""))
    assert processor_features(cpuinfo) == processor_features(other), "frequency and number of cores do not matter"
    other.write_text(text.format(mhz=2000, more=" avx512f"))
    assert processor_features(cpuinfo) != processor_features(other)


def test_a_program_of_another_processor_is_not_read(tmp_path):
    for name in ("another", "a third"):
        before = f"import risjax.runs.compile_cache as c; c.processor_features = lambda: {name!r}"
        assert result(start(tmp_path, before))["read"] == 0
    assert len({path.parent for path in entries(tmp_path)}) == 2


@pytest.mark.parametrize(
    ("setting", "environment", "expected"),
    [
        ("auto", {"XDG_CACHE_HOME": "/x"}, Path("/x/risjax")),
        ("auto", {"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache/risjax"),
        ("auto", {"RISJAX_CACHE_DIR": "/y"}, Path("/y")),
        ("auto", {"RISJAX_CACHE_DIR": "off"}, None),
        ("auto", {"RISJAX_CACHE_DIR": ""}, None),
        ("/z", {"RISJAX_CACHE_DIR": "/y"}, Path("/z")),
        ("off", {"RISJAX_CACHE_DIR": "/y"}, None),
    ],
)
def test_the_setting_wins_over_the_variable(setting, environment, expected, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_root(setting, environment) == expected
    assert cache_text(setting, environment) == f"compiled programs: {expected or 'not kept'}"


@pytest.mark.parametrize(("system", "folder"), [("darwin", "Library/Caches/risjax"), ("win32", "AppData/Local/risjax")])
def test_the_folder_is_the_platforms(system, folder, monkeypatch):
    monkeypatch.setattr(sys, "platform", system)
    assert cache_root("auto", {}) == Path.home() / folder


def test_the_entries_that_were_not_used_for_the_longest_time_go_first(tmp_path):
    for index in range(10):
        path = tmp_path / f"folder{index % 2}" / f"{index}-cache"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 100)
        os.utime(path, (1000 + index, 1000 + index))
    prune(tmp_path, 1000)
    assert len(entries(tmp_path)) == 10
    prune(tmp_path, 999)
    assert sorted(path.name for path in entries(tmp_path)) == [f"{index}-cache" for index in range(3, 10)]


def test_only_entries_since_the_last_check_are_decompressed(tmp_path, monkeypatch):
    for name, content in (("whole", zlib.compress(b"x" * 999)), ("torn", zlib.compress(os.urandom(999))[:500])):
        (tmp_path / f"{name}-cache").write_bytes(content)
    remove_damaged(tmp_path)
    assert len(entries(tmp_path)) == 2, "another process may still be writing them"
    age(entries(tmp_path))
    (tmp_path / cache_entries._CHECKED).unlink()
    remove_damaged(tmp_path)
    assert [path.name for path in entries(tmp_path)] == ["whole-cache"]
    monkeypatch.setattr(cache_entries, "_is_whole", lambda path: pytest.fail(f"{path} was checked before"))
    remove_damaged(tmp_path)
