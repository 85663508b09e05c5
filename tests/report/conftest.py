"""One synthetic run and its report for all tests of the room."""

from pathlib import Path

import pytest

from risjax.report import Drawing, write_report
from risjax.runs.run_directory import RunDirectory
from tests.report.synthetic import write_run


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run of one source; tests that change it work on a copy."""
    return write_run(tmp_path_factory.mktemp("report") / "finished", sources=("held_out",), scenes=60)


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures without their pictures, for tests of the words around them: painting is what takes the time."""
    monkeypatch.setattr(Drawing, "png", lambda self, **options: b"\x89PNG" + bytes(10_000))


@pytest.fixture(scope="session")
def page(run_directory: RunDirectory) -> Path:
    """Its report."""
    return write_report(run_directory)
