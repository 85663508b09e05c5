"""mkdocs hooks: pages at the repository's top, and links written for the repository.

README.md, CHANGELOG.md and CONTRIBUTING.md become pages, the pictures of ``benchmarks/`` files of the site. A relative
link is resolved as a repository's page resolves it and then given the site's address, so one text serves both; mkdocs
checks the result strictly.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s:]+)(?=(?:#[^)\s]*)?\))")


def on_files(files: Files, *, config: Any) -> Files:
    pictures = {str(path.relative_to(REPOSITORY)): path for path in REPOSITORY.glob("benchmarks/*.png")}
    pages = {target: REPOSITORY / source for source, target in PAGES.items()}
    for address, path in (pictures | pages).items():
        files.append(File.generated(config, address, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    folder = "" if page.file.src_uri in PAGES.values() else "docs"

    def on_site(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, match["path"]))
        return PAGES.get(path, path.removeprefix("docs/"))

    return _LINK.sub(on_site, markdown)
