"""The pictures of the gradient benchmarks, drawn from their JSON alone: python benchmarks/picture.py redraws them."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.patches import Patch

INK, MUTED, GRID = "#1b1f24", "#68707a", "#e4e7eb"
COLOURS = {"risjax": "#0b7a75", "jax eigh": "#d1495b", "torch eigh": "#edae49", "torch svd": "#8d6cab"}
MARKERS = {"risjax": "o", "jax eigh": "s", "torch eigh": "^", "torch svd": "v"}
NAN_LEVEL = 30.0
STYLE = {
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
}


def _errors(axis, rows, key, methods):
    positions = np.arange(len(rows))
    axis.axhspan(NAN_LEVEL / 3, NAN_LEVEL * 3, color="#fbe9eb", lw=0)
    for offset, method in enumerate(methods):
        values = [row[method] for row in rows]
        heights = np.array([NAN_LEVEL if value is None else max(value, 1e-9) for value in values], float)
        shift = positions + 0.06 * (offset - len(methods) / 2)
        axis.plot(shift, heights, color=COLOURS[method], lw=1.4, alpha=0.85, zorder=3 + (method == "risjax"))
        missing = np.array([value is None for value in values])
        style = {"marker": MARKERS[method], "ls": "", "ms": 5.5, "color": COLOURS[method], "zorder": 5, "label": method}
        axis.plot(shift[~missing], heights[~missing], **style)
        axis.plot(shift[missing], heights[missing], **{**style, "label": None, "mfc": "white", "mew": 1.5})
    axis.set_yscale("log")
    axis.set_ylim(1e-8, NAN_LEVEL * 3)
    ticks = [10.0**k for k in range(-8, 1, 2)]
    axis.set_yticks([*ticks, NAN_LEVEL], [*(f"$10^{{{int(np.log10(t))}}}$" for t in ticks), "NaN"])
    axis.minorticks_off()
    axis.set_xticks(positions, ["0" if row[key] == 0 else f"$10^{{{round(np.log10(row[key]))}}}$" for row in rows])


def draw_projector_gradient(results, path):
    methods = [name for name in COLOURS if name in results["inside"]["complex64"][0]]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 4, figsize=(15.5, 4.2), gridspec_kw={"width_ratios": [1.1, 1.1, 1.1, 0.9]})
        inside = results["inside"]["complex64"]
        for axis, loading in zip(axes[:2], (inside[0]["loading"], inside[-1]["loading"]), strict=True):
            _errors(axis, [row for row in inside if row["loading"] == loading], "spacing", methods)
            axis.set_title(f"Equal signals, loading {loading:g}")
            axis.set_xlabel("relative spacing inside the signal block")
        axes[0].set_ylabel("relative error of the gradient, complex64")
        axes[0].axhline(1e-5, color=INK, lw=0.8, ls=(0, (4, 3)))
        axes[0].text(7.2, 1.3e-5, "goal 1e-5", ha="right", fontsize=8, color=INK)
        rows = [row for row in results["across"]["complex64"] if row["gap"] > 0]
        _errors(axes[2], rows, "gap", methods)
        bias = [row["bias of the broadening"] for row in rows]
        axes[2].plot(
            np.arange(len(rows)), np.maximum(bias, 1e-8), color=INK, lw=1, ls=":", label="stated bias of the broadening"
        )
        axes[2].set_title("A closing gap across the cut")
        axes[2].set_xlabel("relative gap between eigenvalues 5 and 6")
        axes[2].legend(*([items[-1]] for items in axes[2].get_legend_handles_labels()), frameon=False, fontsize=8)
        draws = results["random"]["complex64"]
        width = 0.8 / len(methods)
        for offset, method in enumerate(methods):
            shares = [100 * row[method] for row in draws]
            x = np.arange(len(draws)) + width * (offset - (len(methods) - 1) / 2)
            axes[3].bar(x, shares, width, color=COLOURS[method])
            if method == "risjax":
                axes[3].plot(x, np.full(len(x), 1.0), ls="", marker="o", ms=4, color=COLOURS[method])
        axes[3].set_xticks(np.arange(len(draws)), [f"{row['loading']:g}" for row in draws])
        axes[3].set_ylim(0, 104)
        axes[3].set_title("NaN in random draws, %")
        axes[3].set_xlabel("diagonal loading")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=len(labels), frameon=False, loc="upper right", fontsize=9)
        figure.suptitle(
            f"Gradient of a signal-projector loss, N = {results['size']}, rank {results['rank']}",
            x=0.01, ha="left", fontsize=13, fontweight="bold",
        )  # fmt: skip
        figure.tight_layout(rect=(0, 0, 1, 0.98))
        figure.savefig(path, dpi=130)
        plt.close(figure)


def draw_nan_map(results, path):
    """Rows are scenes by loading, columns are library, rule, cast and compute dtype."""
    cells = results["cells"]
    scenes, loadings = results["scenes"], results["loadings"]
    columns = list(dict.fromkeys((c["library"], c["rule"], c["cast"], c["compute"]) for c in cells))
    rows = [(scene, loading) for scene in scenes for loading in loadings]
    lookup = {(c["scene"], c["loading"], c["library"], c["rule"], c["cast"], c["compute"]): c for c in cells}
    image = np.ones((len(rows), len(columns), 4))
    norm, colours = LogNorm(1e-7, 1e-1, clip=True), plt.get_cmap("YlGnBu")
    nan, raises, finite = "#d1495b", "#3a3f45", "#cfd8dc"
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            cell = lookup[(*row, *column)]
            match cell["outcome"]:
                case "raises":
                    colour = matplotlib.colors.to_rgba(raises)
                case "nan":
                    colour = matplotlib.colors.to_rgba(nan)
                case _ if cell["error"] is None:
                    colour = matplotlib.colors.to_rgba(finite)
                case _:
                    colour = colours(1 - norm(cell["error"]))
            image[i, j] = colour
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, axis = plt.subplots(figsize=(15, 9))
        axis.imshow(image, aspect="auto", interpolation="nearest")
        axis.set_xticks(np.arange(len(columns)), [c[3].replace("float", "f").replace("bf", "bf") for c in columns],
                        rotation=90, fontsize=7)  # fmt: skip
        axis.set_yticks(np.arange(len(rows)), [f"{loading:g}" for _, loading in rows], fontsize=7)
        axis.text(-0.75, -0.9, "loading", ha="right", va="bottom", fontsize=8, color=MUTED)
        axis.tick_params(length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
        for k, scene in enumerate(scenes):
            axis.axhline((k + 1) * len(loadings) - 0.5, color="white", lw=3)
            middle = (k + 0.5) * len(loadings) - 0.5
            axis.text(-3.2, middle, scene, ha="right", va="center", fontsize=9, fontweight="bold")
        _column_groups(axis, columns, len(rows))
        axis.set_xlim(-0.5, len(columns) - 0.5)
        legend = [
            Patch(color=nan, label="NaN"),
            Patch(color=raises, label="raises"),
            Patch(color=finite, label="finite, no exact gradient exists"),
        ]
        figure.legend(handles=legend, ncols=3, frameon=False, loc="upper right", bbox_to_anchor=(0.99, 0.99))
        scale = matplotlib.cm.ScalarMappable(LogNorm(1e-7, 1e-1), colours.reversed())
        bar = figure.colorbar(scale, cax=figure.add_axes((0.945, 0.07, 0.01, 0.5)))
        bar.set_label("relative error of the gradient against float64")
        bar.outline.set_visible(False)
        figure.suptitle("Why were my gradients NaN?", x=0.01, ha="left", fontsize=15, fontweight="bold")
        figure.text(0.01, 0.935, "One projector loss, by network dtype, what was cast before it, whose gradient rule",
                    fontsize=10, color=MUTED)  # fmt: skip
        figure.subplots_adjust(left=0.15, right=0.93, top=0.84, bottom=0.07)
        figure.savefig(path, dpi=120)
        plt.close(figure)


def _column_groups(axis, columns, height):
    for level, text_height, size, weight in ((3, -0.9, 8, "normal"), (2, -2.3, 10, "bold")):
        start = 0
        for j in range(1, len(columns) + 1):
            if j == len(columns) or columns[j][:level] != columns[start][:level]:
                label = columns[start][2] if level == 3 else f"{columns[start][0]} · {columns[start][1]}"
                axis.text((start + j - 1) / 2, text_height, label, ha="center", va="bottom", fontsize=size,
                          fontweight=weight)  # fmt: skip
                axis.plot([j - 0.5] * 2, [-0.5, height - 0.5], color="white", lw=4 if level == 2 else 1.5)
                start = j


if __name__ == "__main__":
    here = Path(__file__).parent
    for name, draw in (("projector_gradient", draw_projector_gradient), ("nan_map", draw_nan_map)):
        source = here / f"{name}.json"
        if source.exists():
            draw(json.loads(source.read_text()), source.with_suffix(".png"))
