"""Intervals of a metric over several trainings with different seeds, evaluated on the same scenes.

======= ==========================================================================================
symbol  meaning
======= ==========================================================================================
m_k     the metric after training k of N, on all scenes
v_seed  sample variance of m_1 ... m_N divided by N: variance of their mean over seeds
v_scene variance of the mean of m_1 ... m_N over bootstrap draws of the scenes, common to all trainings
======= ==========================================================================================

The interval of the mean is mean +- t sqrt(v_seed + v_scene), t the quantile of Student's law with the degrees of
freedom (N - 1) ((v_seed + v_scene) / v_seed)^2: N - 1 where the seeds dominate, more where the scenes do. The
interaction of scenes and seeds is part of both variances, so the interval is conservative. The interval of a single
training covers the scenes only.

References:
    F. E. Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2
    (1946), doi:10.2307/3002019.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from risjax.metrics.bootstrap import LEVEL, Drawn

_LEAST_SHARE = 1e-12
"""Share of the total variance below which v_seed counts as zero, as for N copies of one set of weights."""


def over_seeds(drawn: Sequence[Drawn]) -> dict[str, Any]:
    """``{value, low, high, seeds}`` of a metric over several trainings.

    Args:
        drawn: the metric of each training, all with the same bootstrap weights.
    """
    values = np.array([metric.value for metric in drawn])
    of_scenes = float(np.nanvar(np.mean([metric.draws for metric in drawn], axis=0), ddof=1))
    of_seeds = float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0
    total = of_scenes + of_seeds
    is_spread = of_seeds > _LEAST_SHARE * total
    freedom = (len(values) - 1) * (total / of_seeds) ** 2 if is_spread else np.inf
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * np.sqrt(total)
    mean = float(values.mean())
    return {"value": mean, "low": mean - half, "high": mean + half, "seeds": values.tolist()}


def paired_over_seeds(first: Sequence[Drawn], second: Sequence[Drawn]) -> dict[str, Any]:
    """`over_seeds` of first minus second, paired by seed and scene.

    Args:
        first: the metric of each training.
        second: the metric of the trainings with the same seeds, in the same order.
    """
    pairs = zip(first, second, strict=True)
    return over_seeds([Drawn(a.value - b.value, a.draws - b.draws, min(a.count, b.count)) for a, b in pairs])
