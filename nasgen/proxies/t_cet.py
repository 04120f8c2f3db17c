"""T-CET (Xiang et al., ICML 2024), with log1p: expressivity times trainability.

Sum over layers of NWOT times log(1 + SNR): how differently a layer's outputs code the examples,
weighted by the signal-to-noise ratio (sum over unbiased standard deviation) of its weights'
saliencies, SNIP's or SynFlow's. A sum over layers, so at equal cost it favours depth.
"""

import numpy as np

from nasgen.proxies.nwot import layer_log_det
from nasgen.proxies.proxy import Passes
from nasgen.proxies.snip import layer_snr


def t_cet(passes: Passes) -> float:
    """The paper's fitness: with SNIP. Layers paired in execution order."""
    return float((layer_log_det(passes) * np.log1p(layer_snr(passes))).sum())


def t_cet_synflow(passes: Passes) -> float:
    """With SynFlow, whose ratio comes as a logarithm: log(1 + e^r). 0 for a layer without flow."""
    return float((layer_log_det(passes) * np.logaddexp(0, passes.synflow_snr)).sum())
