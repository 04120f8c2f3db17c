"""T-CET(SNIP, log1p): expressivity times trainability, the paper's fitness.

Sum over layers of NWOT times log(1 + SNIP-SNR): how differently a layer's outputs code the
examples, weighted by how clearly the loss speaks to its weights (as in Xiang et al., ICML 2024). A
sum over layers, so at equal cost it favours depth.
"""

import numpy as np

from nasgen.proxies.nwot import layer_log_det
from nasgen.proxies.proxy import Passes
from nasgen.proxies.snip import layer_snr


def t_cet(passes: Passes) -> float:
    """Layers paired in execution order."""
    return float((layer_log_det(passes) * np.log1p(layer_snr(passes))).sum())
