"""benchmarks/cuda.py, without a GPU: its parts with tiny sizes, limits, resuming, and the page."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import risjax
from benchmarks.gpu import correctness, part, run, speed, training
from benchmarks.gpu.page import PAGE, page
from benchmarks.gpu.parts import DONE, FAILED, NOT_MEASURED, PARTS, STOPPED, NotMeasured, Part, figure, meets_goal

REPOSITORY = Path(risjax.__file__).resolve().parents[1]
NAMES = [part.name for part in PARTS]


def test_the_page_matches_its_generator() -> None:
    assert PAGE.read_text() == page(REPOSITORY / "benchmarks" / "cuda.json"), "run python benchmarks/cuda.py --page"


def test_without_a_file_the_page_states_that_nothing_was_measured(tmp_path: Path) -> None:
    text = page(tmp_path / "cuda.json")
    assert "Nothing has been measured on a GPU yet." in text
    assert all(f"| {name} |" in text for name in NAMES)


def report(**parts: dict[str, Any]) -> dict[str, Any]:
    machine = {"device": "H100", "memory_bytes": 64 * 2**30, "processor": "a CPU", "jax": "0.11.2", "rehearsal": False}
    return {"machine": machine, "parts": parts}


def test_the_page_shows_figures_goals_and_what_failed(tmp_path: Path) -> None:
    rates = [figure("fast", 400_000, "a second", at_least=300_000), figure("slow", 4, at_least=300_000)]
    parts = {
        "scenes": {"status": DONE, "figures": rates, "seconds": 9.2, "peak_bytes": 2**30},
        "mvdr": {"status": STOPPED, "reason": "stopped after its limit of 60 s", "figures": [], "seconds": 60.1},
    }
    path = tmp_path / "cuda.json"
    path.write_text(json.dumps(report(**parts)))
    text = page(path)
    assert "| fast | 400,000 a second | ≥ 300000 | yes |" in text
    assert "| slow | 4 | ≥ 300000 | no |" in text
    assert "peak of the GPU's memory 1.00 GiB" in text
    assert "Stopped: stopped after its limit of 60 s." in text
    assert text.count("Not measured yet.") == len(PARTS) - 2
    assert "Nothing has been measured" not in text


def test_a_rehearsal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cuda.json"
    rehearsed = report()
    rehearsed["machine"]["rehearsal"] = True
    path.write_text(json.dumps(rehearsed))
    with pytest.raises(ValueError, match="rehearsal"):
        page(path)


def test_goals() -> None:
    assert meets_goal(figure("a", 2, at_least=2)) is True
    assert meets_goal(figure("a", 1.9, at_least=2)) is False
    assert meets_goal(figure("a", 1e-6, at_most=1e-5)) is True
    assert meets_goal(figure("a", float("nan"), at_most=1e-5)) is False
    assert meets_goal(figure("a", 1)) is None


def test_a_part_that_hangs_is_killed_at_its_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "WORK", tmp_path)
    entry = run.run_part(PARTS[0], 0.05, rehearse=True)
    assert (entry["status"], entry["figures"]) == (STOPPED, [])
    assert entry["reason"] == "stopped after its limit of 0 s"
    assert entry["seconds"] < 20


def test_a_part_that_fails_names_its_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "WORK", tmp_path)
    entry = run.run_part(Part("no_such_part", "", 60, ""), 60, rehearse=True)
    assert entry["status"] == FAILED
    assert "StopIteration" in entry["reason"]


def test_figures_before_an_error_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*, rehearse: bool):
        yield figure("first", 1)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(speed, "scenes", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        part.run("scenes", tmp_path / "scenes.json", rehearse=True)
    assert json.loads((tmp_path / "scenes.json").read_text()) == {"status": STOPPED, "figures": [figure("first", 1)]}


class Runs:
    """Stands in for the processes: which parts ran, and how each of them ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, device: str = "H100", memory_bytes: int = 0, **endings: str):
        self.ran: list[str] = []
        self.machine = {"device": device, "memory_bytes": memory_bytes}
        self.endings = endings
        monkeypatch.setattr(run, "run_part", self.run_part)

    def run_part(self, which: Part, limit_s: float, *, rehearse: bool) -> dict[str, Any]:
        self.ran.append(which.name)
        status = self.endings.get(which.name, DONE)
        entry = {"status": status, "figures": [], "seconds": 1.0, "reason": "why"}
        return entry | ({"machine": self.machine} if which.name == "machine" else {})

    def measure(self, out: Path, names: list[str] = NAMES, *, again: bool = False, minutes: float = 8) -> int:
        return run.measure(names, out, minutes, rehearse=False, again=again)


def test_a_second_call_measures_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "cuda.json"
    first = Runs(monkeypatch, mvdr=FAILED, scenes=STOPPED, step=NOT_MEASURED)
    assert first.measure(out) == 1
    assert first.ran == ["machine", *NAMES]
    second = Runs(monkeypatch, step=NOT_MEASURED)
    assert second.measure(out) == 0
    assert second.ran == ["machine", "scenes", "step", "mvdr"]
    again = Runs(monkeypatch)
    again.measure(out, ["export"], again=True)
    assert again.ran == ["machine", "export"]


def test_another_device_starts_a_new_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "cuda.json"
    Runs(monkeypatch).measure(out)
    other = Runs(monkeypatch, device="H200")
    other.measure(out, ["scenes"])
    assert other.ran == ["machine", "scenes"]
    assert set(json.loads(out.read_text())["parts"]) == {"scenes"}
    same = Runs(monkeypatch, device="H200", memory_bytes=1)
    same.measure(out, ["mvdr"])
    assert set(json.loads(out.read_text())["parts"]) == {"scenes", "mvdr"}


def test_without_a_gpu_or_time_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Runs(monkeypatch, machine=NOT_MEASURED).measure(tmp_path / "cuda.json") == 2
    hurried = Runs(monkeypatch)
    assert hurried.measure(tmp_path / "cuda.json", minutes=0.05) == 1
    assert hurried.ran == ["machine"]
    assert not (tmp_path / "cuda.json").exists()


def test_the_batch_that_fills_the_card() -> None:
    def filling(card_gib: int) -> int:
        return training._filling_batch(1024, {"risjax": 3 * 2**30, "pytorch": 5 * 2**30}, card_gib * 2**30)

    assert filling(79) == 4096  # 0.8 * 79 GiB / 8 GiB = 7.9 times 1024 scenes
    assert filling(80) == 8192
    assert filling(8000) == training.LARGEST_BATCH
    assert filling(9) < 1024
    assert filling(0) == 0


def test_a_part_runs_on_a_cpu_with_tiny_sizes() -> None:
    errors = list(correctness.precision(rehearse=True))
    assert len(errors) == 4
    assert all(error["value"] == 0 for error in errors), "the same program on the same device"
    (machine,) = correctness.machine(rehearse=True)
    assert {"device", "jax", "processor"} <= set(machine)
    if machine["memory_bytes"] is None:
        with pytest.raises(NotMeasured, match="no CUDA device"):
            next(correctness.machine(rehearse=False))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_parts_run_on_a_cpu_with_tiny_sizes(tmp_path: Path) -> None:
    out = tmp_path / "rehearsal.json"
    command = [sys.executable, "benchmarks/cuda.py", "--rehearse", "--out", str(out)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads(out.read_text())["parts"]
    expected = {name: DONE for name in NAMES} | ({} if find_spec("torch") else {"step": NOT_MEASURED})
    assert {name: entry["status"] for name, entry in parts.items()} == expected
    assert all(entry["figures"] for entry in parts.values() if entry["status"] == DONE)
