"""Laws that the answer of every method obeys, on 2,048 random cases a method: ``python benchmarks/metamorphic.py``.

A case is a scene and one law, drawn at random: the scene in other units of y and H; y times a global phase; a unitary
matrix on the antennas; another order of the snapshots with their codes; a phase of each element moved from the codes
into the channel; all of these at once; other neighbours in the batch; the scene alone. The answer has to be equal:

* as many sources, matched one to one, each coordinate within 0.05 standard deviations. Methods that state no standard
  deviation have to agree within 2e-3 rad and 2 % of the range;
* probabilities of existence within 0.02.

A scene with a decision near its threshold is counted apart. Such a scene has another answer

* where a threshold of the method is 0.02 lower or higher (probability of existence, metres of the window that decides a
  range, dB of a spectrum; 2 % of BIC's penalty), or
* where the fit that is reported has twice as many iterations: it has not converged, as for two unresolved sources, or
* where y changes by 0.02 of the noise's standard deviation, twice at random: the search ends in another optimum, with
  another number of sources, one of them a quarter of a standard deviation (or five tolerances) away, or a probability
  0.02 away.

    python benchmarks/metamorphic.py                                        # all methods, half an hour on two cores
    python benchmarks/metamorphic.py learned_ml greedy_ml --scenes 64       # some, with 512 cases each

256 scenes of `Purpose.TEST_SCENES` of the network's physics, seed 0. Writes metamorphic.json beside this file after
each method; methods that it contains are measured again only if they are named.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.optimize import linear_sum_assignment

from risjax.config import Config
from risjax.config.evaluate import Method
from risjax.config.io import apply_overrides
from risjax.data.stream import scene_batch
from risjax.experiments.evaluate.methods import Batch, make_method
from risjax.inference.predict.model import load
from risjax.keys import Purpose
from risjax.model import Params
from risjax.types import Estimates, Observation, Scene

STD, DIRECTION_RAD, RANGE_RATIO, EXISTENCE = 0.05, 2e-3, 2e-2, 0.02
NOISE, JUMP = 0.02, 5.0
"""Change of y in standard deviations of the noise; change of a position, in tolerances, that shows another optimum."""
_WINDOW = ("posterior.range_window_m", 1.0, 0.02)
BATCH = 64
LAWS = ("units", "phase", "antennas", "snapshots", "elements", "together", "neighbours", "alone")
METHODS: dict[str, tuple[str, Method]] = {
    "learned_ml": ("original", "learned_ml"),
    "learned_ml, default": ("default", "learned_ml"),
    "learned_mvdr": ("original", "learned_mvdr"),
    "greedy_ml": ("original", "greedy_ml"),
    "omp": ("original", "omp"),
    "mvdr": ("original", "mvdr"),
    "music": ("original", "music"),
    "bartlett": ("original", "bartlett"),
    "sparse": ("original", "sparse"),
}
"""Name of the row: released network whose physics and settings are used, method."""

Law = Callable[[Observation, np.random.Generator], Observation]
Run = Callable[[Observation], Estimates]


class Equality(NamedTuple):
    """Comparison of two answers for each scene.

    Attributes:
        equal: same sources with the same probabilities, [S].
        position: largest difference of a coordinate over what is allowed, [S]; inf for another number of sources.
        existence: largest difference of a probability, [S]; 0 without probabilities.
    """

    equal: np.ndarray
    position: np.ndarray
    existence: np.ndarray


def units(scenes: Observation, rng: np.random.Generator) -> Observation:
    """Y and H of each scene in other units; their entries and the amplitudes stay within 1e-30 to 1e30."""
    factors = 10.0 ** rng.uniform(-12, 12, (2, len(scenes.snapshots), 1, 1))
    return scenes._replace(
        snapshots=(scenes.snapshots * factors[0]).astype(np.complex64),
        channel=(scenes.channel * factors[1]).astype(np.complex64),
    )


def phase(scenes: Observation, rng: np.random.Generator) -> Observation:
    """Y of each scene times a global phase."""
    turns = np.exp(2j * np.pi * rng.random((len(scenes.snapshots), 1, 1)))
    return scenes._replace(snapshots=(scenes.snapshots * turns).astype(np.complex64))


def antennas(scenes: Observation, rng: np.random.Generator) -> Observation:
    """A unitary matrix Q of each scene on its antennas: y Q^T and Q H."""
    size = (len(scenes.snapshots), *[scenes.snapshots.shape[-1]] * 2)
    unitary, _ = np.linalg.qr(rng.normal(size=size) + 1j * rng.normal(size=size))
    return scenes._replace(
        snapshots=(scenes.snapshots @ unitary.swapaxes(1, 2)).astype(np.complex64),
        channel=(unitary @ scenes.channel).astype(np.complex64),
    )


def snapshots(scenes: Observation, rng: np.random.Generator) -> Observation:
    """The snapshots of each scene in another order, with their codes."""
    order = rng.random(scenes.snapshots.shape[:2]).argsort(axis=1)[:, :, None]
    return scenes._replace(
        snapshots=np.take_along_axis(np.asarray(scenes.snapshots), order, axis=1),
        codes=np.take_along_axis(np.asarray(scenes.codes), order, axis=1),
    )


def elements(scenes: Observation, rng: np.random.Generator) -> Observation:
    """A phase of each element moved from the codes into the channel."""
    turns = np.exp(2j * np.pi * rng.random((len(scenes.codes), 1, scenes.codes.shape[-1])))
    return scenes._replace(
        channel=(scenes.channel * turns).astype(np.complex64),
        codes=(scenes.codes * turns.conj()).astype(np.complex64),
    )


def together(scenes: Observation, rng: np.random.Generator) -> Observation:
    """All of the above."""
    for law in (elements, snapshots, antennas, phase, units):
        scenes = law(scenes, rng)
    return scenes


def _differences(found: Estimates, expected: Estimates, scene: int) -> tuple[float, float]:
    """Largest difference of a coordinate over what is allowed, and of a probability, after the best assignment."""
    f, e = found.active[scene], expected.active[scene]
    if f.sum() != e.sum():
        return np.inf, np.inf
    if not e.any():
        return 0.0, 0.0
    position, std = (np.asarray(array[scene][e], np.float64) for array in (expected.position, expected.std))
    fixed = np.stack([np.full(len(position), DIRECTION_RAD)] * 2 + [RANGE_RATIO * position[:, 2]], axis=1)
    allowed = np.where(np.isfinite(std), STD * std, fixed)
    error = np.abs(found.position[scene][f].astype(np.float64)[:, None] - position) / allowed
    pairs = linear_sum_assignment(np.minimum(error.max(-1), 1e9))
    existence = np.abs(found.existence[scene][f][:, None] - expected.existence[scene][e])[pairs]
    return float(error[pairs].max()), float(np.nan_to_num(existence).max())


def compare(found: Estimates, expected: Estimates) -> Equality:
    """Compare two answers scene by scene."""
    position, existence = np.array([_differences(found, expected, scene) for scene in range(len(expected.active))]).T
    return Equality((position <= 1) & (existence <= EXISTENCE), position, existence)


def method_of(config: Config, name: Method, params: Params) -> Run:
    """A method as a function of scenes on the host, `BATCH` at a time."""
    localise = make_method(config, config.physics, name, params)

    def run(scenes: Observation) -> Estimates:
        parts = [
            jax.device_get(localise(Batch(jax.tree.map(lambda leaf, at=at: leaf[at : at + BATCH], scenes), None, None)))
            for at in range(0, len(scenes.snapshots), BATCH)
        ]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *(part.estimates for part in parts))

    return run


def thresholds(config: Config, name: Method) -> list[dict[str, float]]:
    """Settings of the estimator with each threshold of a method moved down and up by 0.02, or twice the iterations."""
    estimator = config.estimator
    penalty = ("greedy.penalty", estimator.greedy.penalty, 0.02 * estimator.greedy.penalty)
    moved = {
        "learned_ml": [("posterior.existence", estimator.posterior.existence, 0.02), _WINDOW],
        "learned_mvdr": [("posterior.existence", estimator.posterior.existence, 0.02)],
        "greedy_ml": [penalty],
        "omp": [penalty],
        "sparse": [("threshold_db", estimator.threshold_db, 0.02)],
    }.get(name, [("sample_threshold_db", estimator.sample_threshold_db, 0.02)])
    settings = [{f"estimator.{key}": value + sign * step} for key, value, step in moved for sign in (-1, 1)]
    iterations = {
        "learned_ml": ("posterior.final_iterations", estimator.posterior.final_iterations),
        "greedy_ml": ("greedy.iterations", estimator.greedy.iterations),
    }
    if name in iterations:
        key, value = iterations[name]
        settings.append({f"estimator.{key}": 2 * value})
    return settings


def near_threshold(config: Config, name: Method, params: Params, drawn: Scene, expected: Estimates) -> np.ndarray:
    """Scenes with a decision near its threshold, [S]."""
    scenes = drawn.observation
    answers = [
        method_of(apply_overrides(config, changed), name, params)(scenes) for changed in thresholds(config, name)
    ]
    near = [compare(answer, expected).position > 1 for answer in answers]
    rng, run = np.random.default_rng(1), method_of(config, name, params)
    std = NOISE * np.sqrt(drawn.truth.noise_variance / 2)[:, None, None]
    for _ in range(2):
        change = std * (rng.normal(size=(2, *scenes.snapshots.shape)).astype(np.float32))
        noisy = run(scenes._replace(snapshots=scenes.snapshots + change[0] + 1j * change[1]))
        changed = compare(noisy, expected)
        near.append((changed.position > JUMP) | (changed.existence > EXISTENCE))
    return np.any(near, axis=0)


def _cases(run: Run, scenes: Observation, expected: Estimates) -> Iterator[tuple[str, Equality]]:
    """Every law on every scene."""
    rng = np.random.default_rng(0)
    for law in (units, phase, antennas, snapshots, elements, together):
        yield law.__name__, compare(run(law(scenes, rng)), expected)
    order = rng.permutation(len(scenes.snapshots))
    mixed = compare(
        run(jax.tree.map(lambda leaf: leaf[order], scenes)), jax.tree.map(lambda leaf: leaf[order], expected)
    )
    yield "neighbours", Equality(*(values[np.argsort(order)] for values in mixed))
    singles = [run(jax.tree.map(lambda leaf, at=at: leaf[at : at + 1], scenes)) for at in range(len(order))]
    yield "alone", compare(jax.tree.map(lambda *leaves: np.concatenate(leaves), *singles), expected)


def measure(row: str, count: int) -> dict[str, Any]:
    """Cases, violations and scenes near a threshold of one method."""
    released, name = METHODS[row]
    model = load(released)
    config = model.config.model_copy(update={"weights": None})
    draw = jax.jit(lambda index: scene_batch(config.physics, 0, Purpose.TEST_SCENES, index, BATCH))
    parts = [jax.device_get(draw(index)) for index in range(-(-count // BATCH))]
    drawn = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)
    scenes = drawn.observation
    run = method_of(config, name, model.params)
    expected = run(scenes)
    near = near_threshold(config, name, model.params, drawn, expected)
    result: dict[str, Any] = {"network": released, "cases": count * len(LAWS), "near_threshold": int(near.sum())}
    laws = {}
    for law, equality in _cases(run, scenes, expected):
        violations = np.flatnonzero(~equality.equal & ~near)
        laws[law] = {
            "violations": violations.tolist(),
            "near_and_unequal": int((~equality.equal & near).sum()),
            "position_99": float(f"{np.quantile(equality.position[~near], 0.99, method='lower'):.3g}"),
            "existence_99": float(f"{np.quantile(equality.existence[~near], 0.99, method='lower'):.3g}"),
        }
        print(row, law, laws[law], flush=True)
    return result | {"violations": sum(len(law["violations"]) for law in laws.values()), "laws": laws}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help=", ".join(METHODS))
    parser.add_argument("--scenes", type=int, default=256)
    arguments = parser.parse_args()
    path = Path(__file__).with_suffix(".json")
    report = json.loads(path.read_text()) if path.exists() else {}
    for row in arguments.methods or [row for row in METHODS if row not in report.get("methods", {})]:
        measured = {row: measure(row, arguments.scenes)}
        report = {
            "equality": {"std": STD, "direction_rad": DIRECTION_RAD, "range": RANGE_RATIO, "existence": EXISTENCE},
            "versions": {"jax": jax.__version__, "python": platform.python_version()},
            "methods": report.get("methods", {}) | measured,
        }
        path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
