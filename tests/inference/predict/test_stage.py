"""The stage ``predict``: its files, bad scenes, and resumption of a killed run."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from risjax import cli
from risjax.config import Config, SimulateConfig
from risjax.data.chunks import Chunk
from risjax.data.simulate import write_scenes
from risjax.inference.predict import Model
from risjax.inference.predict import stage as stage_module
from risjax.inference.predict.localization import COLUMNS
from risjax.runs.terminal import Terminal
from risjax.types import Diagnostics, Estimates, Observation
from tests.imported import HEAVY, run_and_list_imports
from tests.inference.predict.conftest import Setting

pytestmark = pytest.mark.filterwarnings("ignore::risjax.inference.predict.fit_warning.FitWarning")
"""An untrained network misses sources, so that its answers do not always explain the snapshots."""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: Setting) -> Path:
    """An empty working directory with a configuration and a file of measurements."""
    monkeypatch.chdir(tmp_path)
    text = f"stages: [predict]\nweights: {setting.folder}\npredict: {{batch_size: 4, part_scenes: 4}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    np.savez(tmp_path / "y.npz", **setting.arrays())
    return tmp_path


@pytest.fixture(autouse=True)
def one_program(monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
    """Every prediction here is of one network: it is compiled once."""
    monkeypatch.setattr(stage_module, "Model", lambda name, config, params: setting.model)


def run(*overrides: str) -> int:
    return cli.main(["--config", "mine.yaml", "data.path=y.npz", *overrides])


def _number(cell: str) -> float:
    return {"": np.nan, "true": 1.0, "false": 0.0}[cell] if cell in ("", "true", "false") else float(cell)


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_tables_contain_the_models_sources(work: Path, setting: Setting, capsys: pytest.CaptureFixture) -> None:
    assert run() == 0
    out = capsys.readouterr().out
    found = setting.model.localise(*setting.scenes.observation)
    expected = found.rows()
    directory = work / "runs" / "mine"
    rows = read_csv(directory / "sources.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [(int(row["scene"]), int(row["source"])) for row in rows] == [(r["scene"], r["source"]) for r in expected]
    for name in COLUMNS[2:]:
        wanted = np.array([row[name] for row in expected], float)
        got = np.array([_number(row[name]) for row in rows])
        np.testing.assert_allclose(got, wanted, rtol=1e-6, equal_nan=True, err_msg=name)
    scenes = json.loads((directory / "sources.json").read_text())
    assert (scenes["format"], scenes["data"]) == ("risjax sources 1", "y.npz")
    assert [entry["scene"] for entry in scenes["scenes"]] == list(range(9))
    assert [entry["misfit"] for entry in scenes["scenes"]] == found.misfit.tolist()
    assert [len(entry["sources"]) for entry in scenes["scenes"]] == found.count.tolist()
    assert scenes["scenes"][0]["sources"][0]["range_m"] == float(rows[0]["range_m"])
    assert read_csv(directory / "bad_scenes.csv") == []
    assert f"predict: {len(rows)} sources in 9 of 9 scenes, 0 not used" in out
    assert not (directory / "predictions").exists()
    assert not list(directory.glob("*.part"))


def test_parquet_holds_the_same(work: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run() == 0
    table = parquet.read_table(work / "runs/mine/sources.parquet").to_pydict()
    rows = read_csv(work / "runs/mine/sources.csv")
    assert tuple(table) == COLUMNS
    assert table["scene"] == [int(row["scene"]) for row in rows]
    assert table["range_m"] == [float(row["range_m"]) for row in rows]


def test_a_file_with_other_names_and_axes_gives_the_same_answer(work: Path, setting: Setting) -> None:
    assert run() == 0
    values = setting.arrays()
    np.savez(work / "own.npz", Y=np.moveaxis(values["snapshots"], 0, 2), G=values["channel"], C=values["codes"])
    names = "data.names={snapshots: Y, channel: G, codes: C}"
    assert run("data.path=own.npz", names, "data.axes.snapshots=LMS", "run.directory=own") == 0
    assert (work / "own/sources.csv").read_bytes() == (work / "runs/mine/sources.csv").read_bytes()


def test_codes_that_are_phases_end_the_stage_with_the_reason(work: Path, setting: Setting, capsys) -> None:
    values = setting.arrays()
    np.savez(work / "y.npz", **(values | {"codes": np.angle(values["codes"])}))
    assert run() == 1
    assert "codes holds real numbers" in capsys.readouterr().err


def test_bad_scenes_are_reported_and_the_others_are_predicted(
    work: Path, setting: Setting, capsys: pytest.CaptureFixture
) -> None:
    assert run("run.directory=good") == 0
    values = setting.arrays()
    values["snapshots"][2, 1, 1] = np.nan
    values["channel"][4:8] = 0  # a whole batch
    values["snapshots"][1, 5] = 0
    np.savez(work / "y.npz", **values)
    capsys.readouterr()
    assert run("run.directory=bad", "--quiet") == 1
    out = capsys.readouterr().out
    assert "6 of 9 scenes could not be used" in out
    assert "in 3 of 9 scenes, 6 not used" in out
    reasons = {int(row["scene"]): row["reason"] for row in read_csv(Path("bad/bad_scenes.csv"))}
    assert reasons == dict.fromkeys(range(4, 8), "channel is all zero") | {
        1: "snapshots is all zero in snapshot 5; leave it out, together with its code, if it was not received",
        2: "snapshots holds 1 of 64 values that are not finite",
    }
    good = [row for row in read_csv(Path("good/sources.csv")) if int(row["scene"]) not in reasons]
    assert read_csv(Path("bad/sources.csv")) == good
    entries = json.loads(Path("bad/sources.json").read_text())["scenes"]
    assert {entry["scene"]: entry["error"] for entry in entries if "error" in entry} == reasons
    assert run("run.directory=bad", "--quiet") == 1, "the same command says the same again"


def test_a_part_without_a_usable_scene_has_no_sources_and_unknown_diagnostics(setting: Setting) -> None:
    reasons = {scene: "channel holds values that are not finite" for scene in (4, 5, 6)}
    part = stage_module._answer(Chunk(4, 3, None, reasons), setting.model, setting.config)
    assert part.reasons == reasons
    assert part.found.active.shape == (3, setting.config.physics.scene.max_sources)
    assert not part.found.active.any()
    assert not (part.found.misfit | part.found.no_signal).any()
    assert part.found.rank.dtype.kind == "i"
    for number in (part.found.explained, part.found.fit_p_value, part.found.degrees_of_freedom):
        assert np.isnan(number).all()


def test_new_measurements_under_an_old_name_are_predicted_again(
    work: Path, setting: Setting, capsys: pytest.CaptureFixture
) -> None:
    assert run() == 0
    before = Path("runs/mine/sources.csv").read_text()
    assert run() == 0
    assert "already done" in capsys.readouterr().out
    values = setting.arrays()
    np.savez(work / "y.npz", **{name: array[::-1] for name, array in values.items()})
    assert run() == 0
    after = Path("runs/mine/sources.csv").read_text()
    assert after != before
    assert len(read_csv(Path("runs/mine/sources.csv"))) == len(before.splitlines()) - 1


def test_a_finished_prediction_answers_without_jax(work: Path, setting: Setting) -> None:
    values = setting.arrays()
    values["snapshots"][2, 1, 1] = np.nan
    np.savez(work / "y.npz", **values)
    assert run() == 1
    code, imported, printed = run_and_list_imports(["--config", "mine.yaml", "data.path=y.npz"])
    assert code == "1", "a scene could not be used"
    assert "predict: already done" in printed
    assert "1 of 9 scenes could not be used" in printed
    assert not {*HEAVY} & imported


def test_deleted_and_truncated_outputs_are_written_again(work: Path) -> None:
    assert run("predict.figures=[1]") == 0
    folder = Path("runs/mine")
    names = ["sources.csv", "sources.json", "bad_scenes.csv", "figures/scene_000001.png"]
    names += ["sources.parquet"] if (folder / "sources.parquet").exists() else []
    contents = {name: (folder / name).read_bytes() for name in names}
    for name, content in contents.items():
        (folder / name).unlink()
        assert run("predict.figures=[1]") == 0
        assert (folder / name).stat().st_size == len(content), name
        (folder / name).write_bytes(content[:10])
        assert run("predict.figures=[1]") == 0
        assert (folder / name).stat().st_size == len(content), name
    assert (folder / "sources.csv").read_bytes() == contents["sources.csv"]


def test_a_damaged_state_is_named_with_the_remedy(work: Path, capsys: pytest.CaptureFixture) -> None:
    assert run() == 0
    Path("runs/mine/predict.json").write_text('{"fingerprint": "0a')
    assert run() == 2
    assert "runs/mine/predict.json is not valid JSON" in capsys.readouterr().err
    Path("runs/mine/predict.json").unlink()
    assert run() == 0


def test_a_directory_of_shards_limit_and_figures(work: Path, setting: Setting, capsys: pytest.CaptureFixture) -> None:
    settings = SimulateConfig(scenes=130, shard_scenes=128)
    write_scenes(work / "shards", setting.config.physics, 0, settings, Terminal(quiet=True))
    figures = "predict.figures=[1, 129, 500]"
    assert run("data.path=shards", figures, "run.directory=all") == 0
    assert "no figures of the scenes [500]: there are 130" in capsys.readouterr().out
    assert {path.name for path in Path("all/figures").iterdir()} == {"scene_000001.png", "scene_000129.png"}
    assert Path("all/figures/scene_000129.png").read_bytes()[:4] == b"\x89PNG"
    entries = json.loads(Path("all/sources.json").read_text())["scenes"]
    assert [entry["scene"] for entry in entries] == list(range(130))
    assert run("data.path=shards", "predict.limit=6", "run.directory=few") == 0
    few = json.loads(Path("few/sources.json").read_text())["scenes"]
    assert [entry["scene"] for entry in few] == list(range(6))
    assert few == entries[:6]


def test_unusable_inputs_are_refused_with_the_reason(
    work: Path, setting: Setting, capsys: pytest.CaptureFixture
) -> None:
    assert run("data.path=nothing.mat") == 2
    assert "no such file" in capsys.readouterr().err
    assert run("data.path=null") == 2
    assert "is required by the stage predict" in capsys.readouterr().err
    values = setting.arrays()
    np.savez(work / "y.npz", **(values | {"channel": values["channel"][..., :30], "codes": values["codes"][..., :30]}))
    assert run() == 1
    assert "N = 30 elements" in capsys.readouterr().err
    (work / "y.npz").write_bytes(b"nothing")
    assert run() == 1
    assert "not an .npz archive" in capsys.readouterr().err
    assert not Path("runs/mine/sources.csv").exists()


class Echo(Model):
    """Stands for a model where only the bookkeeping is tried: one source a scene, at a place made of its snapshots."""

    def __init__(self, name: str, config: Config, params: Any):
        self.name = name

    def check_sizes(self, *sizes: int) -> None:
        pass

    def estimate(self, observation: Observation, size: int) -> tuple[Estimates, Diagnostics]:
        first = np.abs(np.asarray(observation.snapshots)[:, 0, :2])
        position = np.concatenate([first, first[:, :1]], axis=1)[:, None]
        ones = np.ones_like(position[..., 0])
        number, no = ones[:, 0], ones[:, 0] < 0
        rank = np.full(len(ones), observation.codes.shape[-1])
        diagnostics = Diagnostics._make((number, number, number, number, rank, number, no, no, no, no))
        return Estimates._make((position, ones + 0j, ones > 0, position, ones, ones)), diagnostics


SLOWLY = """
import sys, time
from risjax.inference.predict import stage
from tests.inference.predict.test_stage import Echo
stage.Model = Echo
write = stage._write_part
def slowly(*arguments):
    write(*arguments)
    print("part", flush=True)
    time.sleep(60)
stage._write_part = slowly
from risjax.cli import main

sys.exit(main(sys.argv[1:]))
"""


def test_a_resumed_run_writes_the_same_files(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "Model", Echo)
    command = [sys.executable, "-c", SLOWLY, "--config", "mine.yaml", "data.path=y.npz", "run.directory=killed"]
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([*command, "--quiet"], stdout=subprocess.PIPE, text=True, env=path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "part\n"
        process.send_signal(signal.SIGKILL)
    assert not Path("killed/sources.csv").exists()
    assert run("run.directory=unbroken") == 0
    begun = Path("killed/predictions/part-000000.npz").stat().st_mtime_ns
    done: list[int] = []
    write = stage_module._write_part

    def watch(file: Path, parts: Any) -> None:
        write(file, parts)
        done.append(parts[0].first)

    monkeypatch.setattr(stage_module, "_write_part", watch)
    monkeypatch.setattr(stage_module, "_remove_parts", lambda *_: None)
    assert run("run.directory=killed") == 0
    assert done == [4, 8], "what was done is not done again"
    assert Path("killed/predictions/part-000000.npz").stat().st_mtime_ns == begun
    for name in ("sources.csv", "bad_scenes.csv", "sources.json", "sources.parquet"):
        assert Path("killed", name).read_bytes() == Path("unbroken", name).read_bytes(), name
    assert len(read_csv(Path("killed/sources.csv"))) == 9
