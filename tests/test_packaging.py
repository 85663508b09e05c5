"""An installed package finds the configurations and data of the repository."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import risjax

REPOSITORY = Path(risjax.__file__).resolve().parents[1]


def in_a_fresh_process(folder: Path, where: Path, *arguments: str) -> str:
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from risjax.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=300, env={**os.environ})
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_installed(folder: Path, where: Path) -> None:
    wide, quick = (
        in_a_fresh_process(folder, where, "--config", name, "--print-config") for name in ("wide.yaml", "quick")
    )
    assert "stages: [search, train, tune, evaluate, report]" in wide
    assert "stages: [search, train, evaluate, report]" in quick
    assert f"path: {folder / 'risjax/shipped/data/original/scenes.npz'}" in quick
    assert "wavefront: paraxial" in quick, "the profile of quick.yaml was found"


def test_the_layout_of_a_wheel_finds_its_configurations(tmp_path: Path) -> None:
    """The wheel's layout made by hand from pyproject.toml's own map; building one needs a network."""
    site, where = tmp_path / "site", tmp_path / "elsewhere"
    where.mkdir()
    shutil.copytree(REPOSITORY / "risjax", site / "risjax", ignore=shutil.ignore_patterns("__pycache__", "weights"))
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    for source, target in build["targets"]["wheel"]["force-include"].items():
        (site / target).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (REPOSITORY / source).is_dir() else shutil.copy
        copy(REPOSITORY / source, site / target)
    check_installed(site, where)


@pytest.mark.slow
def test_wheel_contains_all_files(tmp_path: Path) -> None:
    where = tmp_path / "elsewhere"
    where.mkdir()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, REPOSITORY], capture_output=True, text=True, timeout=600
    )
    if built.returncode:
        pytest.skip(f"pip cannot build here: {built.stderr.strip().splitlines()[-1]}")
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], check=True, timeout=600)
    check_installed(tmp_path / "site", where)
    for name in ("report/templates/report.css", "release/templates/card.md.j2"):
        assert (tmp_path / "site" / "risjax" / name).is_file()
    shipped = {
        path.parent.name for path in (REPOSITORY / "risjax" / "inference" / "weights").glob("*/weights.safetensors")
    }
    assert {
        path.parent.name for path in tmp_path.glob("site/risjax/inference/weights/*/weights.safetensors")
    } == shipped
