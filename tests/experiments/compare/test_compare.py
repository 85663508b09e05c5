"""The stage ``compare``, tiny, and its tables, figure and section of the report."""

import io
import json

import numpy as np
import pytest

from risjax.config.io import apply_overrides
from risjax.report.figures import compared_losses
from risjax.report.reading import Run
from risjax.report.sections.comparison import comparison_section
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from tests.tiny import tiny_config

pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install -e '.[torch]'")

from risjax.experiments.compare import stage
from risjax.experiments.compare.nan_map import counts, nan_map

SETTINGS = {
    "train.epochs": 1,
    "train.steps_per_epoch": 3,
    "precision.compute": "float32",
    "compare.compute": ["float32"],
    "compare.compile": False,
    "compare.memory": False,
    "compare.scenes": 4,
    "compare.warmup_steps": 1,
    "compare.failure_steps": 1,
    "compare.nan_map": "none",
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    config = apply_overrides(tiny_config(), SETTINGS)
    directory = RunDirectory(tmp_path_factory.mktemp("compare"))
    stream = io.StringIO()
    result = stage.compare(config, directory, Terminal(stream=stream))
    return config, directory, result, stream.getvalue()


def test_both_trained_alike_and_the_result_is_complete(compared):
    _, directory, result, said = compared
    assert json.loads((directory.path / "compare.json").read_text())["fingerprint"] == result["fingerprint"]
    run = result["runs"]["float32"]
    # Three float32 steps from the same weights: rounding alone (tests/comparison holds them to it step by step).
    np.testing.assert_allclose(run["risjax"]["losses"], run["pytorch"]["losses"], rtol=1e-4)
    for name in ("risjax", "pytorch"):
        assert (run[name]["skipped"], run[name]["nan_steps"], run[name]["steps"]) == (0, 0, 2)
        assert run[name]["step_seconds"] > 0
    assert set(run["final"]["difference"]) == {"nmse", "f1_3d", "f1_angle", "gospa_m"}
    assert abs(run["final"]["difference"]["nmse"]["value"]) < 1e-3
    by_name = {record["name"]: record for record in result["failures"]}
    assert by_name["predictions and labels cast"]["nan_steps"] == 1
    assert by_name["the same, repaired"]["nan_steps"] == by_name["the good baseline"]["nan_steps"] == 0
    assert by_name["nothing cast"]["raises"]
    assert result["versions"]["torch"]
    assert result["setting"]["matmul_precision"] == "highest"
    assert "compare float32  3/3" in said


def test_a_finished_part_is_not_run_again(compared, monkeypatch):
    config, directory, result, _ = compared
    monkeypatch.setattr(stage, "_run", lambda *_: pytest.fail("it was done"))
    monkeypatch.setattr(stage, "reproduce", lambda *_: pytest.fail("it was done"))
    again = stage.compare(config, directory, Terminal(quiet=True, stream=io.StringIO()))
    assert again["runs"] == json.loads(json.dumps(result["runs"]))


def test_markdown_and_report_agree_with_the_json(compared):
    _, directory, result, _ = compared
    text = (directory.path / "compare.md").read_text()
    assert "| float32 | pytorch |" in text
    assert "NaN in 1 of 1 steps" in text
    run = Run(directory.path, compare=result)
    (section,) = comparison_section(run)
    assert len(section.blocks) == 2 + len(result["tables"])
    drawing = compared_losses(result["runs"])
    assert drawing is not None
    assert list(drawing.table) == ["step", "float32_risjax", "float32_pytorch"]
    assert drawing.png()
    assert list(comparison_section(Run(directory.path))) == []
    assert compared_losses({"bfloat16": {"unsupported": "no such product"}}) is None


@pytest.mark.parametrize(
    ("override", "message"),
    [({"precision.loss_matmul": "high"}, "no counterpart"), ({"train.optimizer": "muon"}, "adamw")],
)
def test_what_pytorch_has_no_counterpart_of_is_refused(compared, tmp_path, override, message):
    config = apply_overrides(compared[0], override)
    with pytest.raises(stage.CompareError, match=message):
        stage.compare(config, RunDirectory(tmp_path), Terminal(quiet=True, stream=io.StringIO()))


def test_one_rule_of_the_nan_map_is_finite_in_pytorch():
    """The whole map of both frameworks is benchmarks/nan_map.json; here PyTorch's half of two scenes."""
    scenes = ("healthy", "rank 3, cut 5")
    outcomes = counts(nan_map(["PyTorch"], scenes=scenes, loadings=[1.0])["cells"])
    assert outcomes["PyTorch ours"] == {"finite": 6, "nan": 0, "raises": 0}
    assert outcomes["PyTorch eigh"]["finite"] == 0
