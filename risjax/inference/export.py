"""The whole pipeline as one file that runs without risjax: StableHLO through ``jax.export``, the weights inside.

======================= ==============================================================================
metadata.json           format, versions, platforms; every input and output with shape, dtype, unit
pipeline.bin            the serialised program: (y, H, codes), of any number of scenes, to a dict of arrays
config.yaml, card.md    configuration and model card of the network
======================= ==============================================================================

It requires jax, numpy and flatbuffers; docs/predict.md has the ten lines that run it. The calling convention is that of
jax: a program runs under the jax that wrote it and under later ones for at least six months.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export
from jaxtyping import Array, Complex

import risjax
from risjax.config import Config
from risjax.config.io import to_yaml
from risjax.inference.predict.model import Model
from risjax.inference.predict.programs import pipeline_of
from risjax.inference.release import load_params
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.terminal import Terminal
from risjax.types import Diagnostics, Estimates, Observation

FORMAT = "risjax pipeline 1"
PROGRAM_NAME, METADATA_NAME = "pipeline.bin", "metadata.json"
SCENES = "b"
"""Name of the symbolic dimension."""

_INPUTS = {
    "y": "snapshots; row l was received under the l-th code; any scale",
    "H": "channel from the surface to the base station, y_l = H diag(codes_l) x + noise",
    "codes": "reflection coefficients of the elements, n = i_v * N_H + i_h",
}
_OUTPUTS = {
    "position": ("rad, rad, m", "azimuth, elevation, range; zeros in empty slots"),
    "amplitude": ("scale of y over H", "complex weight of the source's unit-norm steering vector in the field"),
    "active": ("", "which slots hold a source, the strongest first"),
    "std": ("rad, rad, m", "standard deviations of position; inf in empty slots"),
    "score": ("", "logarithm of the likelihood ratio of the source against its absence"),
    "existence": ("", "probability that the source exists"),
    "explained": ("", "share of the snapshots' energy that the sources explain"),
    "field_f": ("", "F statistic of a field against noise alone"),
    "fit_f": ("", "F statistic of a field against the sources"),
    "unexplained": ("", "share of the field's energy, above the noise, that the sources do not explain"),
    "rank": ("", "numerical rank of the measurement matrix; N if the field is determined"),
    "degrees_of_freedom": ("", "dimensions of the field that are observed above the noise"),
    "no_signal": ("", "the snapshots cannot be distinguished from noise"),
    "misfit": ("", "the sources do not explain the field"),
    "rank_deficient": ("", "channel and codes do not determine the field"),
    "ill_conditioned": ("", "channel and codes observe few dimensions of the field above the noise"),
}


def export(config: Config, directory: RunDirectory, terminal: Terminal) -> Path:
    """The stage: writes ``<run>/export/<network>-risjax-<version>.zip``.

    Raises:
        FileNotFoundError, WeightsError, CheckpointError: no network, or one that cannot be used.
    """
    name = Path(config.weights or directory.path.resolve().name).name
    model = Model(name, config, load_params(config, directory))
    path = directory.path / "export" / f"{name}-risjax-{risjax.__version__}.zip"
    terminal.say(f"lowering the pipeline for {' and '.join(config.export.platforms)} ...")
    export_pipeline(model, path, platforms=config.export.platforms)
    terminal.say(f"{path}: {path.stat().st_size / 1e6:.1f} MB; docs/predict.md has the lines that run it")
    return path


def export_pipeline(model: Model, path: str | Path, *, platforms: Sequence[str] = ("cpu", "cuda")) -> None:
    """Write a model's whole pipeline as one file; no incomplete file remains after an error.

    Args:
        model: of `risjax.load`.
        path: the file, ``.zip``.
        platforms: platforms on which it runs; none of them needs to be present here.
    """
    exported = lower(model, platforms)
    program = bytes(exported.serialize())
    files = {
        METADATA_NAME: json.dumps(_metadata(model, exported, program), indent=2) + "\n",
        PROGRAM_NAME: program,
        "config.yaml": to_yaml(model.config),
        "card.md": model.card,
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    write_atomically(Path(path), content.getvalue())


def lower(model: Model, platforms: Sequence[str]) -> jax_export.Exported:
    """The pipeline of a batch of unknown size, its parameters in it as constants.

    Raises:
        ValueError: a network whose scenes have individual geometries, for which the program has no input.
    """
    if model.config.physics.impairments.is_geometry_known:
        raise ValueError(
            f"not supported: the network {model.name!r} uses each scene's geometry (physics.impairments.known), and "
            "an exported pipeline takes (y, H, codes) of the nominal surface; use risjax.load(...).localise"
        )
    pipeline = pipeline_of(model.config)

    def program(
        y: Complex[Array, "b L M"], channel: Complex[Array, "b M N"], codes: Complex[Array, "b L N"]
    ) -> dict[str, Array]:
        estimates, diagnostics = pipeline(model.params, Observation(y, channel, codes))
        return {**estimates._asdict(), **diagnostics._asdict()}

    (scenes,) = jax_export.symbolic_shape(SCENES)
    inputs = [jax.ShapeDtypeStruct((scenes, *shape), jnp.complex64) for shape in _shapes(model.config)]
    return jax_export.export(jax.jit(program), platforms=tuple(platforms))(*inputs)


def _shapes(config: Config) -> tuple[tuple[int, int], ...]:
    physics = config.physics
    num_snapshots, num_antennas = physics.codebook.num_snapshots, physics.channel.num_antennas
    num_elements = physics.array.num_elements
    return (num_snapshots, num_antennas), (num_antennas, num_elements), (num_snapshots, num_elements)


def _metadata(model: Model, exported: jax_export.Exported, program: bytes) -> dict[str, Any]:
    outputs: Mapping[str, Any] = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    assert set(outputs) == set(_OUTPUTS) == {*Estimates._fields, *Diagnostics._fields}, "every output is described"
    return {
        "format": FORMAT,
        "name": model.name,
        "risjax": risjax.__version__,
        "jax": jax.__version__,
        "calling_convention_version": exported.calling_convention_version,
        "platforms": list(exported.platforms),
        "program_sha256": hashlib.sha256(program).hexdigest(),
        "inputs": [
            {"name": name, **_aval(aval), "unit": "" if name != "y" else "any", "meaning": meaning}
            for (name, meaning), aval in zip(_INPUTS.items(), exported.in_avals, strict=True)
        ],
        "outputs": [
            {"name": name, **_aval(outputs[name]), "unit": unit, "meaning": meaning}
            for name, (unit, meaning) in _OUTPUTS.items()
        ],
    }


def _aval(aval: Any) -> dict[str, Any]:
    return {"shape": [d if isinstance(d, int) else str(d) for d in aval.shape], "dtype": str(aval.dtype)}
