"""Commands of docs/tutorial.md: validated by default, executed with ``-m slow``."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import risjax
from risjax import cli
from risjax.config import weights
from risjax.config.io import load_config, to_yaml

REPOSITORY = Path(risjax.__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "tutorial.md"


class Block(NamedTuple):
    """One fenced block: its language and its text."""

    language: str
    text: str

    @property
    def needs_the_released_network(self) -> bool:
        words = ("predict.yaml", "export.yaml", "runs/export", 'load("original")')
        return "weights=" not in self.text and any(word in self.text for word in words)


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)]
COMMANDS = [line for block in BLOCKS if block.language == "sh" for line in block.text.replace("\\\n", " ").splitlines()]
RUNS = [shlex.split(line)[2:] for line in COMMANDS if line.startswith("python run.py ")]


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A released network and a trained run, as far as a configuration looks at them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "RELEASED", tmp_path / "released")
    for folder, name in ((tmp_path / "released/original", "original.yaml"), (tmp_path / "runs/first", "quick.yaml")):
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(to_yaml(load_config(name)))
    (tmp_path / "released/original/weights.safetensors").touch()
    (tmp_path / "runs/first/checkpoints/epoch_1").mkdir(parents=True)


def test_every_block_is_understood() -> None:
    assert {block.language for block in BLOCKS} == {"sh", "py"}
    assert {shlex.split(line)[0] for line in COMMANDS} <= {"python", ".", "pip", "ls", "head"}
    assert len(RUNS) == sum("run.py" in line for line in COMMANDS) >= 7
    for block in BLOCKS:
        if block.language == "py":
            compile(block.text, PAGE.name, "exec")


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("arguments", RUNS, ids=lambda arguments: " ".join(arguments)[:60])
def test_every_command_validates(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    assert cli.main([*arguments, "--print-config"]) == 0, capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_following_it_to_its_end(tmp_path: Path) -> None:
    """All blocks in order, in one shell, in a copy of the repository; without a released network, those that need none.

    `pip install` stands first, so this needs an index that pip can reach.
    """
    copy = tmp_path / "risjax"
    ignored = shutil.ignore_patterns(".git", "runs", "venv", "site", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(REPOSITORY, copy, ignore=ignored)
    released = "original" in weights.released_names()
    script = ["set -euo pipefail"]
    for number, block in enumerate(block for block in BLOCKS if released or not block.needs_the_released_network):
        text = block.text if block.language == "sh" else f"python - <<'END'\n{block.text}END\n"
        script.append(f"echo '@@ block {number}'\n{text}")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=copy, env=environment, capture_output=True, text=True, timeout=3500
    )
    output = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    if done.returncode and "@@ block 1" not in done.stdout:
        pytest.skip(f"cannot install here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, output
    assert (copy / "runs/first/report.html").stat().st_size > 100_000
    assert (copy / "runs/mine/figures").is_dir()
    assert "F1 in 3-D" in done.stdout
    if released:
        assert len((copy / "runs/predict/sources.csv").read_text().splitlines()) > 160
    else:
        pytest.skip("followed as far as it goes without the released network `original`, which is not in this checkout")
