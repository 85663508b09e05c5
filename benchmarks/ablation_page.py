"""Write the tables of docs/ablation.md from JSON: ``ablation_page.py [RUN_DIRECTORY ...]``.

    python run.py --config ablation.yaml            # runs/ablation/ablation.json
    python benchmarks/ablation_page.py runs/ablation

The results of the run directories are first merged into ablation.json beside this file, so that the page and its data
are committed together. Existing variants except the base are replaced, new ones are added, and variants that
ablation.yaml no longer contains are kept at the end. Variants are compared with the base of their run. A run whose
base differs from the stored one by more than its interval is rejected.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pages import rewrite

from risjax.config.io import load_config
from risjax.experiments.ablate.ablation_tables import markdown

STORED = Path(__file__).with_name("ablation.json")


def put(stored: dict[str, Any], found: dict[str, Any]) -> None:
    """Merge the results of a run into the stored results.

    Raises:
        SystemExit: the run used other settings or its base differs.
    """
    for setting in ("scenes", "source", "seeds", "reference"):
        if stored[setting] != found[setting]:
            raise SystemExit(
                f"{setting}: {found[setting]}, but {stored[setting]} in {STORED.name}: the results are not comparable"
            )
    base, *others = found["variants"]
    for method, metrics in stored["variants"][0]["metrics"].items():
        for metric, entry in metrics.items():
            value = base["metrics"][method][metric]["value"]
            if not entry["low"] <= value <= entry["high"]:
                raise SystemExit(
                    f"the base's {metric} of {method} is {value:.4f}, stored {entry['value']:.4f}; "
                    f"to start from empty results, move {STORED.name} away"
                )
    rows = {row["name"]: row for row in (*stored["variants"], *others)}
    order = [variant.name for variant in load_config("ablation").ablate.variants]
    stored["variants"] = [rows[name] for name in dict.fromkeys((*order, *rows)) if name in rows]


def main() -> None:
    """Merge the runs into the stored file, then rewrite the page."""
    runs = [json.loads((Path(run) / "ablation.json").read_text(encoding="utf-8")) for run in sys.argv[1:]]
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else runs[0]
    stored.pop("tables", None)
    for found in runs:
        put(stored, found)
    STORED.write_text(json.dumps(stored, separators=(",", ":")) + "\n", encoding="utf-8")
    rewrite("ablation.md", {"ablation": markdown(stored)})


if __name__ == "__main__":
    main()
