"""Figures of the physics: ``python -m risjax.physics.pictures [--physics original] [--out figures] [--seed 0]``.

* ``scene.png``: surface and sources of a scene in space,
* ``codebook.png``: beam pattern of each code,
* ``bound.png``: Cramér–Rao bound of a single source against SNR, for several ranges.

Only `risjax.estimators.pictures` imports this module, so that the physics does not load matplotlib.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from risjax.config import PhysicsConfig
from risjax.physics.array import cartesian, element_positions
from risjax.physics.codebook import draw_codes
from risjax.physics.crb import crb_in_float64, deterministic_crb
from risjax.physics.scene import draw_scene
from risjax.types import Scene, Sources

BOUND_RANGES_M = (0.5, 1.0, 2.0, 4.0, 7.0, 10.0)
BOUND_SNRS_DB = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0)
NUM_CHANNELS = 32
"""Number of channels for the median of the bound."""


def scene_figure(physics: PhysicsConfig, scene: Scene) -> Figure:
    """Figure of the elements and the active sources in space, with a line from each source to the panel's centre."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot(projection="3d")
    plane = element_positions(physics.array)
    # matplotlib documents arrays for the height, its types allow only a scalar
    axes.scatter(
        np.zeros(len(plane)),
        plane[:, 0],
        plane[:, 1],  # pyright: ignore[reportArgumentType]
        s=4,
        color="0.4",
        label="elements",
    )
    active = np.asarray(scene.truth.sources.active)
    places = np.asarray(cartesian(scene.truth.sources.position))[active]
    power_db = 20 * np.log10(np.abs(np.asarray(scene.truth.sources.amplitude))[active])
    for (horizontal, vertical, boresight), _ in zip(places, power_db, strict=True):
        axes.plot([0, boresight], [0, horizontal], [0, vertical], color="0.8", linewidth=0.8)
    shown = axes.scatter(
        places[:, 2],
        places[:, 0],
        places[:, 1],  # pyright: ignore[reportArgumentType]
        c=power_db,
        s=40,
        cmap="viridis",
        label="sources",
    )
    figure.colorbar(shown, label="power on the surface, dB", shrink=0.7)
    axes.set(xlabel="boresight, m", ylabel="horizontal, m", zlabel="vertical, m")
    axes.set_title(f"{active.sum()} sources, SNR {float(scene.truth.snr_db):.1f} dB")
    axes.legend(loc="upper left")
    return figure


def codebook_figure(physics: PhysicsConfig, codes: np.ndarray, *, points: int = 91) -> Figure:
    """Figure of |sum_n c_n exp(+j k u.p_n)|^2 / N^2 in dB of every code, against the direction cosines u."""
    count = len(codes)
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    figure = Figure(figsize=(2 * columns, 2 * rows), layout="constrained")
    cosine = np.linspace(-1, 1, points)
    plane = element_positions(physics.array) * (2 * np.pi / physics.array.wavelength_m)
    grid = np.stack(np.meshgrid(cosine, cosine), axis=-1).reshape(-1, 2)
    gain = np.abs(np.exp(1j * grid @ plane.T) @ codes.T) ** 2 / codes.shape[1] ** 2
    gain_db = 10 * np.log10(np.maximum(gain, 1e-4)).reshape(points, points, count)
    all_axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    shown = None
    for index, axes in enumerate(all_axes):
        if index >= count:
            axes.set_axis_off()
            continue
        shown = axes.imshow(gain_db[..., index], origin="lower", extent=(-1, 1, -1, 1), vmin=-40, vmax=0, cmap="magma")
        axes.set_title(f"code {index}", fontsize=8)
    figure.supxlabel("sin φ cos θ")
    figure.supylabel("sin θ")
    if shown is not None:
        figure.colorbar(shown, ax=all_axes, label="dB", shrink=0.6)
    return figure


def bound_table(physics: PhysicsConfig, seed: int) -> np.ndarray:
    """Median bound of a single source at 20° azimuth, 10° elevation, [range, SNR, (azimuth, elevation, range)]."""
    single = physics.model_copy(
        update={"scene": physics.scene.model_copy(update={"max_sources": 1, "num_sources": (1, 1)})}
    )
    keys = jax.random.split(jax.random.key(seed), NUM_CHANNELS)
    scenes = jax.jit(jax.vmap(lambda key: draw_scene(key, single)))(keys)

    # E|y|^2 = |x|^2 E|H_mn|^2 for a field x of unit norm; the bound depends on its ratio to the noise variance only.
    channel_power = np.mean(np.abs(np.asarray(scenes.observation.channel)) ** 2)

    def median_std(range_m: float, snr_db: float) -> np.ndarray:
        position = np.tile([np.deg2rad(20.0), np.deg2rad(10.0), range_m], (NUM_CHANNELS, 1, 1))
        active = jnp.ones((NUM_CHANNELS, 1), bool)
        sources = Sources(jnp.asarray(position), active.astype(jnp.complex64), active)
        noise = np.full(NUM_CHANNELS, channel_power * 10 ** (-snr_db / 10))
        bound = crb_in_float64(deterministic_crb, physics.array, scenes.observation, sources, noise)
        return np.median(bound.std[:, 0], axis=0)

    return np.asarray([[median_std(range_m, snr_db) for snr_db in BOUND_SNRS_DB] for range_m in BOUND_RANGES_M])


def bound_figure(table: np.ndarray) -> Figure:
    """Figure of the bounds on azimuth and range against SNR, one line for each range."""
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    angle, distance = figure.subplots(1, 2)
    for index, range_m in enumerate(BOUND_RANGES_M):
        angle.semilogy(BOUND_SNRS_DB, np.rad2deg(table[index, :, 0]), marker="o", label=f"{range_m:g} m")
        distance.semilogy(BOUND_SNRS_DB, table[index, :, 2], marker="o")
    angle.set(xlabel="SNR, dB", ylabel="azimuth, degrees", title="bound on the standard deviation of one source")
    distance.set(xlabel="SNR, dB", ylabel="range, m")
    distance.axhline(1.0, color="0.6", linestyle=":", label="a match's tolerance")
    angle.legend(title="range", fontsize=8)
    distance.legend(fontsize=8)
    return figure


def read_arguments(description: str | None, overrides: Sequence[str] = ()) -> tuple[PhysicsConfig, int, Path]:
    """Read ``--physics``, ``--seed`` and ``--out`` from the command line.

    Args:
        description: text of ``--help``.
        overrides: settings that the figures need.

    Returns:
        The physics, the seed and the folder.
    """
    from risjax.config.io import load_config

    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--physics", help="name of a physics profile (default: the default physics)")
    parser.add_argument("--out", type=Path, default=Path("figures"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    profile = [f"physics={arguments.physics}"] if arguments.physics else []
    return load_config("base", [*profile, *overrides]).physics, arguments.seed, arguments.out


def save_figures(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write each figure as ``<its name>.png`` and print the path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=120)
        print(folder / f"{name}.png")


def main() -> None:
    """Write the three figures."""
    physics, seed, folder = read_arguments(__doc__)
    key = jax.random.key(seed)
    scene = jax.jit(lambda: draw_scene(key, physics))()
    codes = np.asarray(draw_codes(key, physics, jnp.asarray(scene.observation.channel)))
    figures = {
        "scene": scene_figure(physics, scene),
        "codebook": codebook_figure(physics, codes),
        "bound": bound_figure(bound_table(physics, seed)),
    }
    save_figures(figures, folder)


if __name__ == "__main__":
    main()
