"""Writes the tables of docs/ablation.md from JSON: ``ablation_page.py [RUN_DIRECTORY]``.

    python run.py --config ablation.yaml            # runs/ablation/ablation.json
    python benchmarks/ablation_page.py runs/ablation

Given a run directory, its ablation.json is copied beside this file first, so that the page and what it quotes are
committed together.
"""

import json
import sys
from pathlib import Path

from pages import rewrite

from risjax.ablate.tables import markdown

STORED = Path(__file__).with_name("ablation.json")


def main() -> None:
    """Copies, then rewrites the page."""
    if len(sys.argv) > 1:
        result = json.loads((Path(sys.argv[1]) / "ablation.json").read_text(encoding="utf-8"))
        result.pop("tables", None)
        STORED.write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")
    rewrite("ablation.md", {"ablation": markdown(json.loads(STORED.read_text(encoding="utf-8")))})


if __name__ == "__main__":
    main()
