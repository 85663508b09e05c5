"""Writes the tables of docs/ablation.md from JSON: ``ablation_page.py [RUN_DIRECTORY ...]``.

    python run.py --config ablation.yaml            # runs/ablation/ablation.json
    python benchmarks/ablation_page.py runs/ablation

What the run directories measured is put into the ablation.json beside this file first, so that the page and what it
quotes are committed together: a variant that it has already is replaced, except the base, and others are added;
variants that ablation.yaml no longer has stay, at the end. Each is compared with the base of its own run; a base that
differs from the stored one by more than its interval is refused.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pages import rewrite

from risjax.config.io import load_config
from risjax.experiments.ablate.tables import markdown

STORED = Path(__file__).with_name("ablation.json")


def put(stored: dict[str, Any], found: dict[str, Any]) -> None:
    """Adds what one run found to what is stored.

    Raises:
        SystemExit: it was measured otherwise.
    """
    for setting in ("scenes", "source", "seeds", "reference"):
        if stored[setting] != found[setting]:
            raise SystemExit(f"{setting}: {found[setting]}, but {stored[setting]} in {STORED.name}: not to be compared")
    base, *others = found["variants"]
    for method, metrics in stored["variants"][0]["metrics"].items():
        for metric, entry in metrics.items():
            own = base["metrics"][method][metric]["value"]
            if not entry["low"] <= own <= entry["high"]:
                raise SystemExit(
                    f"the base's {metric} of {method} is {own:.4f}, stored {entry['value']:.4f}: not the same; "
                    f"to begin anew, move {STORED.name} away"
                )
    rows = {row["name"]: row for row in (*stored["variants"], *others)}
    order = [variant.name for variant in load_config("ablation").ablate.variants]
    stored["variants"] = [rows[name] for name in dict.fromkeys((*order, *rows)) if name in rows]


def main() -> None:
    """Puts the runs into the stored file, then rewrites the page."""
    runs = [json.loads((Path(run) / "ablation.json").read_text(encoding="utf-8")) for run in sys.argv[1:]]
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else runs[0]
    stored.pop("tables", None)
    for found in runs:
        put(stored, found)
    STORED.write_text(json.dumps(stored, separators=(",", ":")) + "\n", encoding="utf-8")
    rewrite("ablation.md", {"ablation": markdown(stored)})


if __name__ == "__main__":
    main()
