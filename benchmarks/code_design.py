"""Phase codes compared at equal transmitted power: ``python benchmarks/code_design.py [--channels 192] [--seed 3]``.

Every codebook measures the same sources and channels of the default physics with the same noise, 8 scenes a channel.
The method is the released network ``default`` unless ``--method greedy_ml`` is given. Intervals are 95 %, paired and
resampled by channel. Writes code_design.json (a row is kept once it is measured, so that an interrupted run resumes)
and, with ``--pictures``, the figures of docs/code-design.md. About 20 minutes on two cores.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from risjax.config import Config, PhysicsConfig
from risjax.config.io import apply_overrides, load_config
from risjax.experiments.evaluate.methods import Batch, make_method
from risjax.inference.release.load import load_params
from risjax.keys import Purpose, purpose_key
from risjax.metrics.bootstrap import Drawn, difference, draw_ratios, quantiles, scene_weights
from risjax.metrics.bootstrap import Ratio as Quotient
from risjax.metrics.scoring import score
from risjax.physics.code_design.criteria import mutual_information  # noqa: F401  (imports optax before the timing)
from risjax.physics.code_design.known_channels import design_codes
from risjax.physics.code_design.optimise import gram_of
from risjax.physics.code_design.shared import draw_channels
from risjax.physics.codebook import codes as common_codes
from risjax.physics.distributions import complex_normal, draw_snr_db
from risjax.physics.field_of_view import view_factor
from risjax.physics.measurement import measure
from risjax.physics.pictures import codebook_figure
from risjax.physics.scene import draw_numbers, make_sources, sources_steering, transmitted_power
from risjax.types import Observation, Sources

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent / "docs" / "images"
PER_CHANNEL = 8
AT_ONCE = 8
"""Channels in one call of `design_codes`; their number is a multiple of it."""
METRICS = ("f1_3d", "f1_angle", "gospa_m", "k_accuracy", "received")
CODEBOOKS: dict[str, dict[str, Any]] = {
    "dft": {"kind": "dft"},
    "random": {"kind": "random"},
    "each channel, 3 bits": {"bits": 3},
    "each channel, 2 bits": {"bits": 2},
    "each channel, 1 bit": {"bits": 1},
    "each channel, L = 14": {"num_snapshots": 14},
    "each channel, L = 13": {"num_snapshots": 13},
    "each channel, mutual information": {"criterion": "mutual_information"},
}


class Setting(NamedTuple):
    """Sources, fields, noise variances and noise of the scenes, with leading axes [channels, scenes]."""

    channel: jax.Array
    sources: Sources
    field: jax.Array
    variance: jax.Array
    noise: jax.Array
    power: jax.Array


@partial(jax.jit, static_argnums=(0, 2))
def draw(physics: PhysicsConfig, seed: int, count: int) -> Setting:
    """Scenes on ``count`` channels."""
    key = purpose_key(seed, Purpose.DESIGN_SCENES)
    channels = draw_channels(key, physics, count)

    def scene(key: jax.Array, channel: jax.Array) -> Setting:
        uniform, normal, noise_key = jax.random.split(key, 3)
        draws = draw_numbers(uniform, normal, physics)
        sources = make_sources(draws, physics)
        field = jnp.matmul(sources_steering(physics, sources), sources.amplitude, precision="highest")
        power = transmitted_power(channel, field)
        variance = power * 10 ** (-draw_snr_db(draws.snr, physics.scene) / 10)
        shape = (physics.codebook.num_snapshots, channel.shape[0])
        return Setting(channel, sources, field, variance, complex_normal(noise_key, shape, jnp.float32), power)

    keys = jax.random.split(jax.random.fold_in(key, 1), (count, PER_CHANNEL))
    drawn = jax.vmap(jax.vmap(scene, in_axes=(0, None)))(keys, channels)
    return drawn._replace(channel=channels)


@jax.jit
def observe(setting: Setting, codes: jax.Array) -> tuple[Observation, jax.Array]:
    """Observations of all scenes, [channels * scenes], and their received over their transmitted power."""

    def scene(channel: jax.Array, codes: jax.Array, field: jax.Array, variance: jax.Array, noise: jax.Array):
        clean = measure(channel, codes, field)
        return clean + jnp.sqrt(variance) * noise[: codes.shape[0]], jnp.mean(jnp.abs(clean) ** 2)

    per_scene = jax.vmap(scene, in_axes=(None, None, 0, 0, 0))
    snapshots, received = jax.vmap(per_scene)(setting.channel, codes, setting.field, setting.variance, setting.noise)
    snapshots = snapshots.reshape(-1, *snapshots.shape[2:])
    channel, repeated = (jnp.repeat(array, PER_CHANNEL, axis=0) for array in (setting.channel, codes))
    return Observation(snapshots, channel, repeated), (received / setting.power).ravel()


def codes_of(settings: dict[str, Any], setting: Setting, physics: PhysicsConfig) -> tuple[jax.Array, float]:
    """Codes of every channel [channels, L, N], and the seconds of processor time of one design."""
    channels = np.asarray(setting.channel)
    if "kind" in settings:
        codebook = physics.codebook.model_copy(update=settings)
        common = jnp.asarray(common_codes(codebook, physics.array), jnp.complex64)
        return jnp.broadcast_to(common[None], (len(channels), *common.shape)), 0.0
    parts = [design_codes(channels[:AT_ONCE], physics, **settings)]  # compiles
    started = time.process_time()
    for first in range(AT_ONCE, len(channels), AT_ONCE):
        parts.append(design_codes(channels[first : first + AT_ONCE], physics, **settings))
    seconds = (time.process_time() - started) / max(len(channels) - AT_ONCE, 1)
    return jnp.asarray(np.concatenate(parts)), seconds


def measure_codebook(config: Config, setting: Setting, settings: dict[str, Any], method: Any) -> dict[str, Any]:
    """Sums of each metric by channel, and the seconds of the design."""
    codes, seconds = codes_of(settings, setting, config.physics)
    observation, received = observe(setting, codes)
    size, parts = config.evaluate.batch_size, []
    for start in range(0, len(received), size):
        batch = jax.tree.map(lambda leaf, first=start: leaf[first : first + size], observation)
        parts.append(jax.device_get(method(Batch(batch, None, None)).estimates))
    estimates = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    sources = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), setting.sources)
    ratios = {
        name: tuple(score(estimates, sources, config.evaluate.tolerance).ratios[name][:2]) for name in METRICS[:4]
    }
    ratios["received"] = (np.asarray(received), np.ones(len(received)))
    sums = {
        name: [np.asarray(part, float).reshape(-1, PER_CHANNEL).sum(1).tolist() for part in pair]
        for name, pair in ratios.items()
    }
    return {"sums": sums, "design_s": seconds}


def table(measured: dict[str, Any]) -> dict[str, Any]:
    """Values, and differences to DFT codes."""
    count = len(measured["dft"]["sums"]["gospa_m"][0])
    weights = scene_weights(count, 2000, 0)
    drawn = {
        name: draw_ratios(
            {key: Quotient(np.asarray(pair[0]), np.asarray(pair[1])) for key, pair in entry["sums"].items()}, weights
        )
        for name, entry in measured.items()
    }
    return {
        name: {
            "design_s": round(measured[name]["design_s"], 3),
            **{metric: values[metric].interval() for metric in METRICS},
            "minus_dft": {metric: difference(values[metric], drawn["dft"][metric]) for metric in METRICS},
            "share_of_gain": share_of_gain(values["f1_3d"], drawn),
        }
        for name, values in drawn.items()
    }


def share_of_gain(values: Drawn, drawn: dict[str, dict[str, Drawn]]) -> dict[str, float | None]:
    """Gain in 3-D F1 over DFT codes, relative to that of 3-bit codes for each channel, with its interval."""
    if "each channel, 3 bits" not in drawn:
        return {}
    least, most = drawn["dft"]["f1_3d"], drawn["each channel, 3 bits"]["f1_3d"]
    low, high = quantiles((values.draws - least.draws) / (most.draws - least.draws))
    return {"value": (values.value - least.value) / (most.value - least.value), "low": low, "high": high}


def eigenvalue_figure(setting: Setting, physics: PhysicsConfig) -> Figure:
    """Eigenvalues of B^H Phi^H Phi B, the median over channels, for each codebook of 3 bits and 16 snapshots."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    factor = jnp.asarray(view_factor(physics))
    few = setting._replace(channel=setting.channel[:24])
    for name, label in (("dft", "DFT"), ("random", "random"), ("each channel, 3 bits", "designed for each channel")):
        codes, _ = codes_of(CODEBOOKS[name], few, physics)
        grams = jax.vmap(gram_of)(few.channel, codes)
        values = jnp.linalg.eigvalsh(jax.vmap(lambda gram: factor.conj().T @ gram @ factor)(grams))
        axes.semilogy(np.median(np.asarray(values)[:, ::-1], axis=0), label=label)
    axes.set(xlabel="index", ylabel="eigenvalue", ylim=(1e-2, None), title="Power gain of the field's dimensions")
    axes.legend()
    return figure


def metric_figure(rows: dict[str, Any]) -> Figure:
    """3-D F1 against the number of snapshots and of bits."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    snapshots, bits = figure.subplots(1, 2, sharey=True)
    by_snapshots = {13: "L = 13", 14: "L = 14", 16: "3 bits"}
    by_bits = {1: "1 bit", 2: "2 bits", 3: "3 bits"}
    for axes, names, label in ((snapshots, by_snapshots, "snapshots L, 3 bits"), (bits, by_bits, "bits, L = 16")):
        entries = {x: rows[f"each channel, {name}"]["f1_3d"] for x, name in names.items()}
        values = np.array([[entry["value"], entry["low"], entry["high"]] for entry in entries.values()]).T
        error = np.abs(values[1:] - values[0])
        axes.errorbar(list(entries), values[0], error, marker="o", capsize=3, label="designed for each channel")
        for name, style in (("dft", ":"), ("random", "--")):
            axes.axhline(rows[name]["f1_3d"]["value"], color="0.5", linestyle=style, label=f"{name}, L = 16")
        axes.set(xlabel=label, xticks=list(entries))
    snapshots.set_ylabel("3-D F1")
    snapshots.legend(fontsize=8)
    return figure


def pictures(setting: Setting, physics: PhysicsConfig, rows: dict[str, Any]) -> None:
    """Write the figures of docs/code-design.md."""
    for name, title in (("dft", "dft"), ("random", "random"), ("each channel, 3 bits", "designed")):
        codes, _ = codes_of(CODEBOOKS[name], setting._replace(channel=setting.channel[:1]), physics)
        codebook_figure(physics, np.asarray(codes[0])).savefig(IMAGES / f"codes-{title}.png", dpi=80)
    eigenvalue_figure(setting, physics).savefig(IMAGES / "codes-eigenvalues.png", dpi=110)
    metric_figure(rows).savefig(IMAGES / "codes-metrics.png", dpi=110)


def main() -> None:
    """Measure what is missing, write the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=192)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--method", default="learned_ml", choices=["learned_ml", "greedy_ml"])
    parser.add_argument("--pictures", action="store_true")
    arguments = parser.parse_args()
    given = ["weights=default", "stages=[evaluate]", "evaluate.batch_size=64"]
    config = apply_overrides(load_config("base.yaml", given), {"physics.scene.snr_reference": "transmitted"})
    setting = draw(config.physics, arguments.seed, arguments.channels)
    params = load_params(config, None) if arguments.method == "learned_ml" else None
    method = make_method(config, config.physics, arguments.method, params)
    file = HERE / "code_design.json"
    content = json.loads(file.read_text()) if file.exists() else {}
    setup = {"channels": arguments.channels, "scenes_per_channel": PER_CHANNEL, "seed": arguments.seed}
    entry = content.setdefault(arguments.method, {})
    if entry.get("setup") != setup:
        entry.update(setup=setup, measured={})
    for name, settings in CODEBOOKS.items():
        if name not in entry["measured"]:
            entry["measured"][name] = measure_codebook(config, setting, settings, method)
            file.write_text(json.dumps(content) + "\n")
            print(name, json.dumps(table(entry["measured"])[name]), flush=True)
    entry["table"] = table(entry["measured"])
    file.write_text(json.dumps(content) + "\n")
    if arguments.pictures:
        pictures(setting, config.physics, entry["table"])


if __name__ == "__main__":
    main()
