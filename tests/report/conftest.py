"""Synthetic run and its report, shared by all report tests."""

from pathlib import Path

import pytest

from risjax.report import Drawing, write_report
from risjax.runs.run_directory import RunDirectory
from tests.report.synthetic import write_run


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Finished run with one scene source; tests that modify it use a copy."""
    return write_run(tmp_path_factory.mktemp("report") / "finished", sources=("held_out",), scenes=60)


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip drawing the figures, which takes most of the time, for tests of the text."""
    monkeypatch.setattr(Drawing, "png", lambda self, **options: b"\x89PNG" + bytes(10_000))


@pytest.fixture(scope="session")
def page(run_directory: RunDirectory) -> Path:
    """Report of the synthetic run."""
    return write_report(run_directory)
