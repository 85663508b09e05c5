"""Largest expected overlap of an estimated subspace with the span of the true sources.

    overlap = tr(P_hat_K P) / K      P: projector on the span of a draw's K steering vectors

Given the number of sources the best subspace is that of the K strongest eigenvectors of E[P | K]. It is chosen for
each K separately, which a single covariance may not be able to do, so no covariance judged by its K dominant
eigenvectors exceeds the limit. As in `risjax.experiments.bayes_limit.expectation`, the limit lies between a choice
judged by the same draws and one made by half of the runs and judged by the other half.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from risjax.config import PhysicsConfig
from risjax.covariance import factor_of_sources
from risjax.experiments.bayes_limit.limit_tables import BOUNDS, OVERLAP
from risjax.linalg import safe_eigh
from risjax.metrics.bootstrap import Ratio
from risjax.physics.scene import sources_steering
from risjax.types import Geometry, Sources

_SMALLEST = 1e-5
"""Singular value over the largest below which a direction is not counted in a span: float32's steering vectors."""


class Overlaps(NamedTuple):
    """Mean overlap of every scene.

    Attributes:
        methods: of the dominant directions of the covariance of what each method fitted.
        limit: by `BOUNDS`.
    """

    methods: dict[str, Ratio]
    limit: dict[str, Ratio]

    def of_method(self, name: str) -> dict[str, Ratio]:
        """Under the name of the metric; empty for a method that is not judged."""
        return {OVERLAP: self.methods[name]} if name in self.methods else {}


class _Law(NamedTuple):
    """The span of the sources of one scene.

    Attributes:
        share: probability of k = 1 .. K sources, [K].
        projector: E[P | k]; E[P] where no draw has k sources, [K, N, N].
    """

    share: Float[np.ndarray, " K"]
    projector: Complex[np.ndarray, "K N N"]


def overlaps(
    fits: Mapping[str, Sources],
    position: Float[np.ndarray, "S R P K 3"],
    active: Bool[np.ndarray, "S R P K"],
    physics: PhysicsConfig,
    geometry: Geometry | None,
    advance: Callable[[], None],
) -> Overlaps:
    """The limit and what methods reach, scene by scene.

    Args:
        fits: what methods fitted, leading axis S; the powers say which directions are dominant.
        position: draws of (azimuth, elevation, range) from each scene's posterior, of R replicates.
        active: which of them are sources.
        physics: whose steering vectors.
        geometry: of the scenes; None where they share the nominal surface.
        advance: called after every scene.
    """
    make = jax.vmap(lambda fit, surface: factor_of_sources(fit, physics, surface))
    factors = {name: np.asarray(make(fit, geometry)) for name, fit in fits.items()}
    found: dict[str, list[float]] = {name: [] for name in (*factors, *BOUNDS)}

    @jax.jit
    def steered(places: Array, present: Array, surface: Geometry | None) -> Array:
        def steer_draw(place: Array, here: Array) -> Array:
            return sources_steering(physics, Sources(place, here + 0j, here), surface)

        return jax.vmap(steer_draw)(places, present)

    for scene, (drawn, present) in enumerate(zip(position, active, strict=True)):
        surface = jax.tree.map(lambda leaf, row=scene: leaf[row], geometry)
        laws = [_law(np.asarray(steered(*draws, surface)), draws[1]) for draws in zip(drawn, present, strict=True)]
        whole = _pooled(laws)
        found["above"].append(_expected(_dominant(whole), whole))
        middle = len(laws) // 2
        found["below"].append(_cross_overlap(_pooled(laws[:middle]), _pooled(laws[middle:])))
        for name, rows in factors.items():
            found[name].append(_expected(_dominant_of_factor(rows[scene])[None].repeat(len(whole.share), 0), whole))
        advance()
    ratios = {name: Ratio(np.asarray(values), np.ones(len(values))) for name, values in found.items()}
    return Overlaps({name: ratios[name] for name in factors}, {name: ratios[name] for name in BOUNDS})


def _law(matrices: Complex[np.ndarray, "P N K"], present: Bool[np.ndarray, "P K"]) -> _Law:
    """Return the law of the subspaces of draws, from their steering vectors, zero in slots without a source."""
    wide = matrices.astype(complex)
    squares, mixtures = np.linalg.eigh(wide.conj().swapaxes(-1, -2) @ wide)
    spanned = squares > _SMALLEST**2 * squares[:, -1:]
    bases = wide @ mixtures * np.where(spanned, np.where(spanned, squares, 1.0) ** -0.5, 0.0)[:, None, :]
    counts, slots = present.sum(-1), present.shape[-1]

    def mean(chosen: Bool[np.ndarray, " P"]) -> Complex[np.ndarray, "N N"]:
        some = bases[chosen] if chosen.any() else bases
        columns = np.moveaxis(some, 0, 1).reshape(bases.shape[1], -1)
        return columns @ columns.conj().T / len(some)

    of_count = [counts == k for k in range(1, slots + 1)]
    share = np.array([of_this_count.mean() for of_this_count in of_count])
    return _Law(share / share.sum(), np.stack([mean(of_this_count) for of_this_count in of_count]))


def _pooled(laws: Sequence[_Law]) -> _Law:
    """Return the law of the draws of all replicates, which have equally many."""
    shares, projectors = np.stack([law.share for law in laws]), np.stack([law.projector for law in laws])
    total = shares.sum(0)
    drawn = (total > 0)[:, None, None]
    of_count = np.einsum("rk,rknm->knm", shares, projectors) / np.where(drawn, total[:, None, None], 1.0)
    share = total / len(laws)
    return _Law(share, np.where(drawn, of_count, np.einsum("k,knm->nm", share, of_count)))


@jax.jit
def _vectors(matrices: Complex[Array, "K N N"]) -> Complex[Array, "K N N"]:
    return jax.vmap(safe_eigh)(matrices)[1][..., ::-1]


def _dominant(law: _Law) -> Complex[np.ndarray, "K N N"]:
    """Return the eigenvectors of each E[P | k] as columns, the strongest first.

    By jax, which flushes denormal numbers: NumPy met so many of them in the null space of a projector that one
    decomposition took over a second.
    """
    return np.asarray(_vectors(law.projector.astype(np.complex64)))


def _dominant_of_factor(factor: Complex[np.ndarray, "N K"]) -> Complex[np.ndarray, "N K"]:
    """Eigenvectors of F F^H, the strongest first; zero beyond its rank."""
    vectors, sizes, _ = np.linalg.svd(factor.astype(complex), full_matrices=False)
    return vectors * (sizes > _SMALLEST * max(sizes[0], np.finfo(float).tiny))[None, :]


def _expected(vectors: Complex[np.ndarray, "K N _"], law: _Law) -> float:
    """E[tr(P_hat_k P) / k], P_hat_k of the first k of ``vectors[k - 1]``."""
    value = 0.0
    for k, (share, projector, basis) in enumerate(zip(law.share, law.projector, vectors, strict=True), start=1):
        first = basis[:, :k]
        value += share * np.einsum("nk,nm,mk->", first.conj(), projector, first, optimize=True).real / k
    return float(value)


def _cross_overlap(first: _Law, second: _Law) -> float:
    """Return the mean overlap of each half's choice with the draws of the other half."""
    return (_expected(_dominant(first), second) + _expected(_dominant(second), first)) / 2
