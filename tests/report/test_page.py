"""Rendered page: complete, self-contained, small, and free of browser errors."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from risjax.report.page import render_page
from risjax.report.reading import Run, read_run
from risjax.report.sections import make_sections
from risjax.runs.run_directory import RunDirectory

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
SECTIONS = ("baselines", "run", "training", "search", "evaluation-held_out")
MAX_BYTES = 3_000_000


class Parser(HTMLParser):
    """Collects references, ids and images of a page and checks that its tags are balanced."""

    VOID = frozenset({"meta", "link", "img", "wbr", "br", "source"})

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.references += [values[name] or "" for name in ("href", "src", "srcset", "action") if name in values]
        self.ids += [values["id"] or ""] if "id" in values else []
        if tag == "img":
            self.images.append(values)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(text: str) -> Parser:
    parser = Parser()
    parser.feed(text)
    assert parser.open == []
    return parser


def test_page_contains_every_section_and_figure_and_is_small(page: Path, run_directory: RunDirectory) -> None:
    text = page.read_text(encoding="utf-8")
    parser = parse(text)
    assert page.stat().st_size < MAX_BYTES
    assert [name for name in SECTIONS if name not in parser.ids] == []
    assert len(parser.ids) == len(set(parser.ids))
    figures = {path.stem for path in run_directory.figures.glob("*.png")}
    assert {name.removeprefix("figure-") for name in parser.ids if name.startswith("figure-")} == figures
    assert {path.stem for path in run_directory.figures.glob("*.csv")} == figures
    for name in ("loss", "gradients", "validation", "optimizer", "search_history", "search_parallel",
                 "search_importances", "search_slices", "search_pruning", "search_cost", "held_out_pairs",
                 "held_out_snr", "held_out_rmse_snr", "held_out_sources",
                 "held_out_range", "held_out_errors", "held_out_calibration", "held_out_timing",
                 "held_out_scene_best", "held_out_scene_worst"):  # fmt: skip
        assert name in figures
    assert len(parser.images) == len(figures)
    assert all(image.get("alt") for image in parser.images)
    for expected in (
        "Better than sample MVDR",
        "its value of epoch 2",
        "bfloat16",
        "paraxial",
        "the trials differ by more than the seeds",
        "loss.projector.weight",
    ):
        assert re.search(expected.replace(".", r"\.(<wbr>)?").replace("_", "_(<wbr>)?"), text), expected


def test_page_needs_no_network(page: Path, run_directory: RunDirectory) -> None:
    parser = parse(page.read_text(encoding="utf-8"))
    style = re.search(r"<style>(.*?)</style>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert style is not None
    assert "url(" not in style.group(1)
    assert "@import" not in style.group(1)
    for reference in parser.references:
        if reference.startswith("#"):
            assert reference[1:] in parser.ids
        elif not reference.startswith("data:"):
            assert (run_directory.path / reference).is_file(), reference
    assert "<script" not in page.read_text(encoding="utf-8")


def test_page_has_styles_for_dark_mode_and_print(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert "@media print" in text


def test_names_and_reasons_are_escaped(tmp_path: Path, unpainted: None) -> None:
    run = Run(tmp_path / "run", config={"physics": {"array": {"wavefront": "<script>alert(1)</script>"}}})
    run.trials = [{"number": 0, "state": "failed", "reason": "<b>&", "params": {"<i>": 1}}]
    text = render_page(run, make_sections(run), tmp_path / "figures")
    assert "<script" not in text
    assert "&lt;b&gt;&amp;" in text
    parse(text)


def test_figures_beyond_the_budget_become_links(
    run_directory: RunDirectory, tmp_path: Path, unpainted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("risjax.report.page.FIGURE_BUDGET_BYTES", 60_000)
    run = read_run(run_directory)
    run.sources = []
    text = render_page(run, make_sections(run), tmp_path / "figures")
    images = parse(text).images
    assert 0 < len(images) < 7
    assert 'href="figures/search_importances.png">search_importances.png</a>' in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (chromium, chromium-browser or google-chrome)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_opens_in_a_browser_without_an_error(page: Path, tmp_path: Path, scheme: str) -> None:
    from PIL import Image

    assert CHROMIUM is not None
    picture = tmp_path / "page.png"
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--hide-scrollbars",
        "--window-size=1100,2400", "--enable-logging=stderr", "--v=0", f"--screenshot={picture}",
        *(["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []), page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    with Image.open(picture) as image:
        corner = image.convert("RGB").getpixel((3, 3))
        colours = image.convert("RGB").getcolors(maxcolors=1 << 24)
    assert isinstance(corner, tuple)
    assert (sum(corner) > 600) == (scheme == "light"), corner
    assert colours is not None
    assert len(colours) > 200


def test_page_shows_time_and_peak_memory_of_stages(page: Path) -> None:
    text = re.sub(r"<[^>]*>", " ", page.read_text(encoding="utf-8"))
    assert "1 min 1 s" in text
    assert "896 MiB" in text


def test_bayes_limit_is_shown_only_if_it_was_computed(page: Path, tmp_path: Path) -> None:
    assert "limit" not in parse(page.read_text(encoding="utf-8")).ids
    directory = RunDirectory(tmp_path)
    directory.write_json("limit.json", {"tables": {"The title": [{"method": "learned_ml", "f1_3d": "0.806"}]}})
    (section,) = [section for section in make_sections(read_run(directory)) if section.anchor == "limit"]
    text = render_page(read_run(directory), [section], directory.figures)
    assert "limit" in parse(text).ids
    assert "0.806" in text
