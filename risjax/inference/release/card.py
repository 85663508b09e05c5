"""Model card of a release, generated from the run's log, configuration and metrics."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

import risjax
from risjax.config import Config
from risjax.config.deprecated import current_method
from risjax.model import Params
from risjax.runs.formatting import duration_text

_SHOWN = {"nmse": "NMSE of R", "f1_3d": "F1 in 3-D", "f1_angle": "F1 in angle", "gospa_m": "GOSPA, m"}
_PAIRED = ("f1_3d", "f1_angle", "gospa_m")


def make_card(
    name: str,
    config: Config,
    log: Sequence[Mapping[str, Any]],
    best_epoch: int | None,
    metrics: Mapping[str, Any],
    weights: Path,
    params: Params,
) -> str:
    """The card as Markdown.

    Args:
        name: of the network.
        config: of its training.
        log: the run's log.
        best_epoch: epoch of the parameters; None if it is not known.
        metrics: content of ``metrics.json``; no sources where nothing was evaluated.
        weights: the file of weights.
        params: its parameters.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    epochs = [record for record in log if record.get("kind") == "epoch"]
    environment: Mapping[str, Any] = next((record for record in log if record.get("kind") == "environment"), {})
    commands = [record["command"] for record in log if record.get("kind") == "command"]
    last = epochs[-1] if epochs else {}
    best = next((record for record in epochs if record["epoch"] == best_epoch), {})
    template = Environment(
        loader=PackageLoader("risjax.inference.release"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("card.md.j2")
    return template.render(
        name=name,
        version=risjax.__version__,
        commands=list(dict.fromkeys(commands)),
        config=config,
        physics=config.physics,
        scene=config.physics.scene,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        megabytes=weights.stat().st_size / 1e6,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        environment=environment,
        steps=last.get("applied_updates"),
        skipped=last.get("skipped_steps"),
        epochs=len(epochs),
        best=best,
        scenes_seen=len(epochs) * config.train.steps_per_epoch * config.train.batch_size,
        wall_time=duration_text(sum(record["seconds"] for record in epochs)),
        sources=[_source(source, entry) for source, entry in metrics["sources"].items()],
        limits=_limits(config),
    )


def _source(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of one set of scenes."""
    methods = {current_method(method): breakdowns["overall"] for method, breakdowns in entry["methods"].items()}
    shown = {metric: title for metric, title in _SHOWN.items() if any(metric in found for found in methods.values())}
    rows = [[method, *(_interval(found.get(metric)) for metric in shown)] for method, found in methods.items()]
    pairs = [
        [
            " - ".join(map(current_method, pair.split("_minus_"))),
            *(_interval(found["overall"].get(metric), sign=True) for metric in _PAIRED),
        ]
        for pair, found in entry.get("pairs", {}).items()
        if pair.startswith("learned")
    ]
    return {
        "name": name,
        "scenes": entry.get("scenes"),
        "head": ["method", *shown.values()],
        "rows": rows,
        "pair_head": ["difference", *(_SHOWN[metric] for metric in _PAIRED)],
        "pairs": pairs,
        "notes": entry.get("notes", []),
    }


def _interval(figure: Mapping[str, Any] | None, *, sign: bool = False) -> str:
    if not figure or figure.get("value") is None:
        return "-"
    form = "{:+.3f}" if sign else "{:.3f}"
    text = form.format(figure["value"])
    if figure.get("low") is None:
        return text
    return f"{text} [{form.format(figure['low'])}, {form.format(figure['high'])}]"


def _symbols(config: Config) -> str:
    if config.physics.scene.symbols == "constant":
        return "One coherent field in all snapshots (a known pilot): symbols that change between snapshots do not fit."
    return "Symbols that change from snapshot to snapshot: no standard deviations and no probabilities of existence."


def _limits(config: Config) -> list[str]:
    """Limits of the network that follow from its configuration."""
    physics, scene, array = config.physics, config.physics.scene, config.physics.array
    shaped = {"spherical": "the exact spherical", "fresnel": "the Fresnel", "paraxial": "the paraxial"}[array.wavefront]
    limits = [
        f"Only for a surface of {array.num_horizontal} by {array.num_vertical} elements, {1000 * array.spacing_m:g} mm "
        f"apart, at a wavelength of {1000 * array.wavelength_m:g} mm, with {shaped} wavefront. Others are refused.",
        f"At most {scene.max_sources} sources; trained with {scene.num_sources[0]} to {scene.num_sources[1]}, never "
        "with an empty scene.",
        f"Sources outside azimuth {_span(scene.azimuth_deg)}°, elevation {_span(scene.elevation_deg)}° or range "
        f"{_span(scene.range_m)} m were not in the training; estimates are limited to "
        "this region.",
        f"Signal-to-noise ratios outside {_span(scene.snr_db)} dB were not in the training.",
        _symbols(config),
        "The channel H and the codes must be known to the receiver"
        + ("; more measurements than elements (L·M > N)." if config.model.needs_common_field else "."),
    ]
    impairments = physics.impairments
    impaired = {name: getattr(impairments, name) for name in impairments.strengths if impairments.is_on(name)}
    if impaired:
        text = ", ".join(
            f"{name} {_span(value) if isinstance(value, tuple) else f'{value:g}'}" for name, value in impaired.items()
        )
        limits.append(f"Hardware impairments beyond those of its training ({text}) were not in the training.")
    else:
        limits.append("Trained on ideal hardware: without jittered elements, phase errors or channel errors.")
    limits.append("Simulated scenes only: it has not been tested on recordings of a real surface.")
    return limits


def _span(interval: tuple[float, float]) -> str:
    return f"{interval[0]:g} … {interval[1]:g}"
