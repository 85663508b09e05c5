"""The limit beside what was reached, and whether the sampling had converged, as tables of text."""

from typing import Any

from risjax.runs.text_tables import Row, interval_text

DECISIONS = {"bayes_3d": "f1_3d", "bayes_angle": "f1_angle", "bayes_gospa": "gospa_m"}
"""Each decision with the metric that it is the best one for."""
BOUNDS = ("above", "below")
"""Two estimates of the limit: judged by the draws of the decision, and by those of the other half of the runs."""
OVERLAP = "subspace_overlap_of_fit"
"""Overlap of the fitted covariance, only in the posterior's expectation (`risjax.experiments.bayes_limit.subspace`)."""
_METRICS = tuple(DECISIONS.values())
_EXPECTED = (*_METRICS, OVERLAP)


def make_tables(result: dict[str, Any], source: str) -> dict[str, list[Row]]:
    """Four tables, {title: rows}.

    Args:
        result: of `risjax.experiments.bayes_limit.limit`: ``methods``, ``pairs``, ``expected``, ``convergence``.
        source: name of the scenes.
    """
    methods = result["methods"]
    rows = [{"method": name} | _cells(parts["overall"]) for name, parts in methods.items()]
    reached = [name for name in methods if name not in DECISIONS]
    left = [{"method": name} | {metric: _left(result, name, metric) for metric in _METRICS} for name in reached]
    title = f"{source}: {result['scenes']} scenes, value [95 % interval]; bayes_* is the best decision for one metric"
    return {
        title: rows,
        "Paired difference from the decision that is best for the metric": left,
        "In the posterior's expectation, without the luck of the true draw": _expected(result["expected"]),
        _convergence_title(result["convergence"]): _convergence_rows(result["convergence"]),
    }


def _cells(overall: dict[str, Any], metrics: tuple[str, ...] = _METRICS) -> Row:
    return {metric: interval_text(overall[metric]) if metric in overall else "-" for metric in metrics}


def _left(result: dict[str, Any], method: str, metric: str) -> str:
    best = next(name for name, served in DECISIONS.items() if served == metric)
    return interval_text(result["pairs"][f"{method}_minus_{best}"]["overall"][metric], "+")


def _expected(expected: dict[str, Any]) -> list[Row]:
    """Every method as the posterior expects it, the limit from both sides, and what lies between them."""
    limit, left = expected["limit"], expected["minus_limit"]
    rows = [{"": name} | _cells(figures, _EXPECTED) for name, figures in expected["methods"].items()]
    for end in BOUNDS:
        rows.append(
            {"": f"the limit, bounded from {end}"} | {name: interval_text(limit[name][end]) for name in _EXPECTED}
        )
    for method, figures in left.items():
        for end in BOUNDS:
            cells = {name: interval_text(figures[name][end], "+") if name in figures else "-" for name in _EXPECTED}
            rows.append({"": f"{method} minus the limit from {end}"} | cells)
    return rows


def _convergence_title(convergence: dict[str, Any]) -> str:
    variation = convergence["variation_of_count"]
    return (
        f"Convergence: {convergence['replicates']} independent runs of {convergence['particles']} particles; their "
        f"laws of the number of sources differ by {variation['median']:.3f} in total variation (median), "
        f"{variation['largest']:.3f} at most"
    )


def _convergence_rows(convergence: dict[str, Any]) -> list[Row]:
    def several(values: list[float]) -> str:
        return ", ".join(f"{value:.3f}" for value in values)

    return [
        {
            "metric": metric,
            "the posterior expects": f"{convergence['expected'][name]:.3f}",
            "each half of the runs expects": several(convergence["expected_by_half"][name]),
            "each half of the runs reaches": several(convergence["reached_by_half"][name]),
        }
        for name, metric in DECISIONS.items()
    ]
