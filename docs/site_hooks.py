"""mkdocs hooks: pages at the repository's top, and links written for the repository.

README.md, CHANGELOG.md, CONTRIBUTING.md and the notebooks of ``examples/`` become pages, the pictures of
``benchmarks/`` files of the site. A relative link is resolved as a repository's page resolves it and then given the
site's address, so one text serves both; mkdocs checks the result strictly.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_NOTEBOOK_LINK = re.compile(r'(?<=href=")\.\./docs/(?P<page>[\w-]+)\.md(?=[#"])')
_OUTSIDE_SCRIPT = re.compile(r"<script\b(?:(?!</script>).)*?https?://(?:(?!</script>).)*?</script>", re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s:]+)(?=(?:#[^)\s]*)?\))")


@event_priority(100)  # before mkdocs-jupyter, which converts the notebooks among the files
def on_files(files: Files, *, config: Any) -> Files:
    pictures = {str(path.relative_to(REPOSITORY)): path for path in REPOSITORY.glob("benchmarks/*.png")}
    pages = {target: REPOSITORY / source for source, target in PAGES.items()}
    for address, path in (pictures | pages).items():
        files.append(File.generated(config, address, abs_src_path=str(path)))
    for path in REPOSITORY.glob("examples/*.ipynb"):  # mkdocs-jupyter reads them by folder and path
        address = str(path.relative_to(REPOSITORY))
        files.append(File(address, str(REPOSITORY), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    folder = "" if page.file.src_uri in PAGES.values() else "docs"

    def on_site(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, match["path"]))
        return PAGES.get(path, path.removeprefix("docs/"))

    return _LINK.sub(on_site, markdown)


def on_page_content(html: str, *, page: Any, config: Any, files: Files) -> str:
    """Correct the links of a notebook, and leave out scripts of nbconvert that load others from elsewhere."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return _OUTSIDE_SCRIPT.sub("", _NOTEBOOK_LINK.sub(r"../\g<page>.html", html))
