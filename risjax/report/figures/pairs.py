"""Paired differences between methods, with intervals."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from risjax.config.metric import lower_is_better
from risjax.report.display_names import method_name, metric_name
from risjax.report.drawing import Drawing
from risjax.report.metrics_view import SourceMetrics
from risjax.report.style import MUTED, TEXT, method_styles, tidy

SHOWN = ("f1_3d", "f1_angle", "gospa_m", "nmse")


def paired_differences(source: SourceMetrics, pairs: Sequence[tuple[str, str]] | None = None) -> Drawing | None:
    """Plot the gain of method a over method b on the same scenes, one panel for each metric; positive is better.

    Args:
        source: evaluation of one source.
        pairs: pairs (a, b) to show, in order; all by default.

    Returns:
        The figure, or None if there are no pairs.
    """
    chosen = [pair for pair in pairs or source.pairs if pair in source.pairs]
    metrics = [metric for metric in SHOWN if any(metric in source.pairs[pair] for pair in chosen)]
    rows = [
        (a, b, metric, source.pairs[a, b][metric])
        for metric in metrics
        for a, b in chosen
        if metric in source.pairs[a, b]
    ]
    if not rows:
        return None
    sign = np.array([-1.0 if lower_is_better(metric) else 1.0 for *_, metric, _ in rows])
    ends = sign[:, None] * np.array([[entry.low, entry.high] for *_, entry in rows])
    table = {
        "a": [a for a, *_ in rows],
        "b": [b for _, b, *_ in rows],
        "metric": [metric for _, _, metric, _ in rows],
        "gain": sign * np.array([entry.value for *_, entry in rows]),
        "low": ends.min(1),
        "high": ends.max(1),
        "count": [entry.count for *_, entry in rows],
    }
    labels = [f"{method_name(a)} over {method_name(b)}" for a, b in chosen]

    def paint(figure: Figure) -> None:
        styles = method_styles(list(dict.fromkeys(b for _, b in chosen)))
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            axes.axvline(0, color=MUTED, linewidth=1)
            for index, (a, b) in enumerate(chosen):
                for row in range(len(rows)):
                    if (table["a"][row], table["b"][row], table["metric"][row]) == (a, b, metric):
                        style = styles[b]
                        axes.plot(
                            [table["low"][row], table["high"][row]], [index] * 2, color=style.color, linewidth=2.2
                        )
                        axes.plot(table["gain"][row], index, marker=style.marker, color=style.color, markersize=6)
            axes.set_title(metric_name(metric))
            axes.set_xlabel("gain (better →)")
            axes.margins(x=0.18)
            axes.set_ylim(len(chosen) - 0.4, -0.6)
            tidy(axes, grid="x")
        panels[0].set_yticks(range(len(chosen)), labels)
        panels[0].tick_params(axis="y", labelcolor=TEXT)

    caption = (
        "Differences on the same scenes with 95 % intervals (scenes resampled jointly for both methods), "
        "with the sign chosen so that positive is better. If the interval contains zero, the difference is not "
        "significant."
    )
    height = 1.25 + 0.34 * len(chosen)
    return Drawing(f"{source.name}_pairs", "Paired differences", caption, table, paint, height_in=height)
