"""ZiCo (Li et al., ICLR 2023): gradients should be large and agree between batches.

Sum over layers of log sum_w mean|g_w| / std(g_w), mean and standard deviation (of the population)
over the gradients of two half-batches. As in the authors' code, weights whose two gradients are
equal are left out, and so is a layer of only such weights.
"""

import numpy as np

from nasgen.proxies.proxy import Passes


def zico(passes: Passes) -> float:
    """Sum over layers of log sum mean|g| / std(g)."""
    layers = zip(*passes.half_gradients, strict=True)
    sums = np.array([_sum_of_ratios(first, second) for first, second in layers])
    return float(np.log(sums[sums != 0]).sum())


def _sum_of_ratios(first: np.ndarray, second: np.ndarray) -> float:
    halves = np.stack([first.ravel(), second.ravel()]).astype(np.float64)
    deviation, size = halves.std(0), np.abs(halves).mean(0)
    return float((size[deviation != 0] / deviation[deviation != 0]).sum())
