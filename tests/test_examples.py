"""The notebooks of examples/ run to their end, and the committed ones contain their outputs."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import risjax

REPOSITORY = Path(risjax.__file__).resolve().parents[1]
NOTEBOOKS = sorted(REPOSITORY.glob("examples/*.ipynb"))
LONGEST_S = 180


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def processor_time_of_children_s() -> float:
    """Processor time of all processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def test_there_are_notebooks_and_all_are_on_the_site() -> None:
    assert len(NOTEBOOKS) >= 1
    contents = (REPOSITORY / "mkdocs.yml").read_text()
    for path in NOTEBOOKS:
        assert f"examples/{path.name}" in contents, f"add {path.name} to the contents of mkdocs.yml"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebooks_were_run_in_order_without_errors(path: Path) -> None:
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "run all cells, then commit"
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert "error" not in kinds
    assert kinds & {"stream", "execute_result", "display_data"}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell in a new kernel, with the assertions that the notebooks contain, in three minutes of processor time.

    The time on the clock depends on what else the machine computes; on a free core it is not longer.
    """
    nbclient = pytest.importorskip("nbclient", reason="notebooks are run with nbclient, of the test extra")
    import nbformat

    examples = tmp_path / "examples"
    shutil.copytree(REPOSITORY / "examples", examples)
    (tmp_path / "data").symlink_to(REPOSITORY / "data")
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(examples / path.name, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": examples}}
    )
    before = processor_time_of_children_s()
    client.execute()
    assert 0 < processor_time_of_children_s() - before < LONGEST_S
