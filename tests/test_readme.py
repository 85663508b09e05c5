"""The Python example of the README: short, and a plot of errors that lie around the Cramér–Rao bound."""

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

import risjax

README = Path(risjax.__file__).resolve().parents[1] / "README.md"
(EXAMPLE,) = [block for block in re.findall(r"^```py\n(.*?)^```$", README.read_text(), re.M | re.S) if "crb" in block]


def test_the_example_has_ten_lines_after_its_imports() -> None:
    lines = [line for line in EXAMPLE.splitlines() if line and not line.startswith("import ")]
    assert len(lines) <= 10


def test_the_example_plots_greedy_ml_against_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with mpl.rc_context({"backend": "agg"}):
        exec(compile(EXAMPLE, README.name, "exec"), names)  # the text of the README
        names["plt"].close("all")
    assert (tmp_path / "bound.png").stat().st_size > 5_000
    assert np.isfinite(names["bound"]).all()
    assert np.isfinite(names["error"]).mean() > 0.9, "a source in almost every scene"
    ratio = np.nanmedian(names["error"] / names["bound"]) / 0.6745
    assert 0.6 < ratio < 1.5, "the median error of a normal distribution is 0.6745 standard deviations"
