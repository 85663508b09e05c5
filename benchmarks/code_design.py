"""Codes for each channel at equal transmitted power: ``python benchmarks/code_design.py [--blocks 8] [--seed 4]``.

DFT and random codes, codes designed for each channel by each criterion, and with fewer bits and snapshots, measure the
scenes of `benchmarks.codebook_scenes`, 64 channels of the default physics a block. The reference beyond is
``elements``: every element of the surface is observed by itself with the same mean power, Phi^H Phi = (L M / N) I. The
method is the released network ``default`` unless ``--method greedy_ml`` is given. ``--few`` is the number of blocks for
the codes of fewer bits and snapshots. Writes code_design.json and, with ``--pictures``, the figures of
docs/code-design.md. About 40 minutes of processor time.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
from pathlib import Path
from typing import Any

import codebook_scenes as scenes
import jax
import jax.numpy as jnp
import numpy as np
from codebook_scenes import Block, Codebook, Measured
from matplotlib.figure import Figure

from risjax.config import PhysicsConfig
from risjax.physics.code_design.criteria import mutual_information  # noqa: F401  (imports optax before the timing)
from risjax.physics.code_design.known_channels import design_codes
from risjax.physics.code_design.optimise import gram_of
from risjax.physics.codebook import codes as common_codes
from risjax.physics.field_of_view import view_factor
from risjax.physics.pictures import codebook_figure

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
AT_ONCE = 8
"""Channels in one call of `design_codes`."""


def common(**settings: Any) -> Codebook:
    """The same codes for all channels."""

    def make(block: Block, physics: PhysicsConfig) -> Measured:
        codebook = physics.codebook.model_copy(update=settings)
        codes = jnp.asarray(common_codes(codebook, physics.array), jnp.complex64)
        return block.channel, jnp.broadcast_to(codes[None], (len(block.channel), *codes.shape))

    return make


def designed(criterion: str = "position_information", **settings: Any) -> Codebook:
    """Codes of `risjax.design_codes` for each channel."""

    def make(block: Block, physics: PhysicsConfig) -> Measured:
        channels = np.asarray(block.channel)
        starts = range(0, len(channels), AT_ONCE)
        parts = [design_codes(channels[i : i + AT_ONCE], physics, criterion=criterion, **settings) for i in starts]
        return block.channel, jnp.asarray(np.concatenate(parts))

    return make


def elements(block: Block, physics: PhysicsConfig) -> Measured:
    """A channel of equal gains whose antennas observe N / M elements each, which orthogonal codes separate.

    The elements of an antenna have different columns of the DFT of length L as codes, so Phi^H Phi is a multiple of
    the identity. The channel has the Frobenius norm of the block's.
    """
    antennas, count = block.channel.shape[1:]
    snapshots = physics.codebook.num_snapshots
    of_antenna = -(-count // antennas)
    if of_antenna > snapshots:
        raise ValueError(f"got {snapshots} snapshots, expected {of_antenna} to separate the elements of an antenna")
    index = np.arange(count)
    gains = (index // of_antenna == np.arange(antennas)[:, None]) / np.sqrt(count)
    codes = np.exp(2j * np.pi * np.outer(np.arange(snapshots), index % of_antenna) / snapshots)
    norms = jnp.linalg.norm(block.channel, axis=(1, 2))
    channel = norms[:, None, None] * jnp.asarray(gains, jnp.complex64)[None]
    return channel, jnp.broadcast_to(jnp.asarray(codes, jnp.complex64)[None], (len(channel), *codes.shape))


MAIN: dict[str, Codebook] = {
    "dft": common(kind="dft"),
    "random": common(kind="random"),
    "position information": designed(),
    "mutual information": designed(criterion="mutual_information"),
    "elements": elements,
}
FEW: dict[str, Codebook] = {
    "2 bits": designed(bits=2),
    "1 bit": designed(bits=1),
    "L = 15": designed(num_snapshots=15),
    "L = 14": designed(num_snapshots=14),
    "L = 13": designed(num_snapshots=13),
    "L = 12": designed(num_snapshots=12),
}


def shares(found: dict[str, list[scenes.Arrays]]) -> dict[str, Any]:
    """Share of the distance from DFT codes to all elements, and of the gain of 3-bit codes, with intervals."""
    result: dict[str, Any] = {}
    for name, blocks in found.items():
        drawn, low, full, most = (
            scenes.drawn_metrics(found[other][: len(blocks)])
            for other in (name, "dft", "position information", "elements")
        )
        for metric in ("f1_3d", "f1_angle", "gospa_m"):
            of_distance = scenes.share(drawn[metric], low[metric], most[metric])
            of_gain = scenes.share(drawn[metric], low[metric], full[metric])
            result.setdefault(name, {})[metric] = {"of_distance": of_distance, "of_gain": of_gain}
    return result


def eigenvalue_figure(block: Block, physics: PhysicsConfig) -> Figure:
    """Eigenvalues of B^H Phi^H Phi B, the median over channels, for each codebook of 3 bits and 16 snapshots."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    factor = jnp.asarray(view_factor(physics))
    labels = {"dft": "DFT", "random": "random", "position information": "designed for each channel"}
    for name, label in labels.items():
        grams = jax.vmap(gram_of)(*MAIN[name](block, physics))
        values = jnp.linalg.eigvalsh(jax.vmap(lambda gram: factor.conj().T @ gram @ factor)(grams))
        axes.semilogy(np.median(np.asarray(values)[:, ::-1], axis=0), label=label)
    axes.set(xlabel="index", ylabel="eigenvalue", ylim=(1e-2, None), title="Power gain of the field's dimensions")
    axes.legend()
    return figure


def metric_figure(rows: dict[str, Any]) -> Figure:
    """3-D F1 against the number of snapshots and of bits."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    snapshots, bits = figure.subplots(1, 2, sharey=True)
    by_snapshots = {length: f"L = {length}" for length in range(12, 16)} | {16: "position information"}
    by_bits = {1: "1 bit", 2: "2 bits", 3: "position information"}
    for axes, names, label in ((snapshots, by_snapshots, "snapshots L, 3 bits"), (bits, by_bits, "bits, L = 16")):
        entries = {x: rows[name]["minus_dft"]["f1_3d"] for x, name in names.items()}
        values = np.array([[entry["value"], entry["low"], entry["high"]] for entry in entries.values()]).T
        error = np.abs(values[1:] - values[0])
        axes.errorbar(list(entries), values[0], error, marker="o", capsize=3, label="designed for each channel")
        for name, style, shown in (("random", "--", "random, L = 16"), ("elements", ":", "every element by itself")):
            gain = rows[name]["minus_dft"]["f1_3d"]["value"]
            axes.axhline(gain, color="0.5", linestyle=style, label=shown)
        axes.axhline(0, color="0.2", linewidth=0.8)
        axes.set(xlabel=label, xticks=list(entries))
    snapshots.set_ylabel("3-D F1 minus that of DFT codes, L = 16")
    snapshots.legend(fontsize=8, loc="lower right")
    return figure


def pictures(block: Block, physics: PhysicsConfig, rows: dict[str, Any]) -> None:
    """Write the figures of docs/code-design.md."""
    few = block._replace(channel=block.channel[:24])
    for name, title in (("dft", "dft"), ("random", "random"), ("position information", "designed")):
        _, codes = MAIN[name](few._replace(channel=few.channel[:1]), physics)
        codebook_figure(physics, np.asarray(codes[0])).savefig(IMAGES / f"codes-{title}.png", dpi=80)
    eigenvalue_figure(few, physics).savefig(IMAGES / "codes-eigenvalues.png", dpi=110)
    metric_figure(rows).savefig(IMAGES / "codes-metrics.png", dpi=110)


def main() -> None:
    """Measure what is missing, write the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--few", type=int, default=4)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--method", default="learned_ml", choices=["learned_ml", "greedy_ml"])
    parser.add_argument("--pictures", action="store_true")
    arguments = parser.parse_args()
    config, method = scenes.settings(arguments.method)
    found: dict[str, list[scenes.Arrays]] = {}
    for codebooks, count in ((MAIN, arguments.blocks), (FEW, arguments.few)):
        if count:
            found |= scenes.measure_blocks(codebooks, count, arguments.seed, config, method, arguments.method)
    table = scenes.against(found, "dft")
    reference = "minus_position information"
    criteria = {name: row[reference] for name, row in scenes.against(found, "position information").items()}
    content = {"seed": arguments.seed, "table": table, reference: criteria, "shares": shares(found)}
    scenes.write_results("code_design", arguments.method, content)
    if arguments.pictures:
        pictures(scenes.draw_block(config.physics, arguments.seed, 0), config.physics, table)


if __name__ == "__main__":
    main()
