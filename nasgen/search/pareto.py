"""Several objectives: the networks that no other one beats in everything, and their hypervolume.

Objectives are the fitness, which grows, and costs, which shrink: params, MACs and latency. The
hypervolume (Zitzler & Thiele, PPSN 1998) is what the set dominates of the box between the budget,
or the largest cost there is, and zero cost at the best fitness; of 1, so that sets compare.
"""

import moocore
import numpy as np
from jaxtyping import Bool, Float, Real

Objectives = Float[np.ndarray, "networks objectives"]  # all to be minimised


def objectives(
    fitness: Float[np.ndarray, " networks"], *costs: Real[np.ndarray, " networks"]
) -> Objectives:
    """Rows to minimise: the negative fitness and the costs. A fitness of -inf is the worst."""
    return np.column_stack([-np.asarray(fitness, float), *(np.asarray(c, float) for c in costs)])


def pareto_set(points: Objectives) -> Bool[np.ndarray, " networks"]:
    """Which rows no other row dominates: is no worse everywhere and better somewhere. Of rows that
    are equal all stay; rows that are not finite never do."""
    whole = np.isfinite(points).all(1)
    front = np.zeros(len(points), bool)
    if whole.any():
        front[whole] = moocore.is_nondominated(points[whole], keep_weakly=True)
    return front


def hypervolume(
    points: Objectives,
    worst: Float[np.ndarray, " objectives"],
    best: Float[np.ndarray, " objectives"],
) -> float:
    """The share of the box from `best` to `worst` that the rows dominate. Raises ValueError where
    the box has no volume."""
    worst, best = np.asarray(worst, float), np.asarray(best, float)
    if not (worst > best).all():
        raise ValueError(f"`worst` must lie above `best` everywhere; got {worst} and {best}.")
    scaled = (np.asarray(points, float) - best[None]) / (worst - best)[None]
    scaled = scaled[np.isfinite(scaled).all(1)]
    return float(moocore.hypervolume(np.maximum(scaled, 0), ref=1.0)) if len(scaled) else 0.0
