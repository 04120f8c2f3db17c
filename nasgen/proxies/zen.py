"""Zen-score (Lin et al., ICCV 2021): how far a network with normal weights carries a little noise.

log mean_n sum |f(x) - f(x + 0.01 e)| over the features f before pooling, plus, since batch norm
hides the scale of activations, the sum over batch norms of log sqrt(mean running variance).
"""

import numpy as np

from nasgen.proxies.proxy import Passes


def zen(passes: Passes) -> float:
    """-inf where the noise does not reach the features."""
    with np.errstate(divide="ignore"):
        distance = np.log(passes.zen.distances.astype(np.float64).mean())
        scales = 0.5 * np.log(passes.zen.variances.astype(np.float64)).sum()
    return float(distance + scales)
