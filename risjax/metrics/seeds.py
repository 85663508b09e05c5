"""Intervals of a metric that was measured after several trainings, each under a seed of its own, on the same scenes.

======= ==========================================================================================
symbol  meaning
======= ==========================================================================================
m_k     the metric after training k of N, on all scenes
v_seed  sample variance of m_1 ... m_N over N: what other seeds would have done to their mean
v_scene variance of the mean of m_1 ... m_N when the scenes are resampled, the same for all of them
======= ==========================================================================================

The interval of the mean is mean +- t sqrt(v_seed + v_scene), t the quantile of Student's law with the degrees of
freedom (N - 1) ((v_seed + v_scene) / v_seed)^2: N - 1 where the seeds decide, many where the scenes do. What scenes and
seeds do together is in both variances, so the interval errs, if at all, on the wide side. One training alone says
nothing of seeds: its interval is that of the scenes, and a reader must be told.

References:
    Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2 (1946).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from risjax.metrics.bootstrap import LEVEL, Drawn

_LEAST_SHARE = 1e-12
"""Of the variance, below which the seeds do not count: one set of weights under N names has none."""


def over_seeds(drawn: Sequence[Drawn]) -> dict[str, Any]:
    """``{value, low, high, seeds}`` of one metric after several trainings.

    Args:
        drawn: the metric of each training, all drawn with the same weights of scenes.
    """
    values = np.array([one.value for one in drawn])
    of_scenes = float(np.nanvar(np.mean([one.draws for one in drawn], axis=0), ddof=1))
    of_seeds = float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0
    total = of_scenes + of_seeds
    is_spread = of_seeds > _LEAST_SHARE * total
    freedom = (len(values) - 1) * (total / of_seeds) ** 2 if is_spread else np.inf
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * np.sqrt(total)
    mean = float(values.mean())
    return {"value": mean, "low": mean - half, "high": mean + half, "seeds": values.tolist()}


def paired_over_seeds(first: Sequence[Drawn], second: Sequence[Drawn]) -> dict[str, Any]:
    """The same of first minus second, training by training: equal seeds and equal scenes cancel.

    Args:
        first: the metric of each training.
        second: of the trainings under the same seeds, in the same order.
    """
    pairs = zip(first, second, strict=True)
    return over_seeds([Drawn(a.value - b.value, a.draws - b.draws, min(a.count, b.count)) for a, b in pairs])
