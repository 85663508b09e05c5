"""The NaN map of both frameworks, drawn: ``python benchmarks/nan_map.py``, about two minutes on two cores.

`risjax.experiments.compare.nan_map` describes the map. Without PyTorch it contains the results of JAX only.
Writes nan_map.json and nan_map.png beside this file.
"""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from picture import draw_nan_map

from risjax.experiments.compare.nan_map import counts, nan_map


def main() -> None:
    """Computes, writes, draws, and prints the counts."""
    versions = {"jax": version("jax")}
    try:
        versions["torch"] = version("torch")
    except PackageNotFoundError:
        print("without PyTorch (pip install -e '.[torch]')")
    results = {"versions": versions, **nan_map(("JAX", "PyTorch") if "torch" in versions else ("JAX",))}
    here = Path(__file__).with_suffix("")
    here.with_suffix(".json").write_text(json.dumps(results, indent=None, separators=(",", ":")) + "\n")
    draw_nan_map(results, here.with_suffix(".png"))
    for name, outcomes in counts(results["cells"]).items():
        print(f"{name:14s} predictions and labels cast: {outcomes}")


if __name__ == "__main__":
    main()
