"""SynFlow (Tanaka et al., NeurIPS 2020): the sum of |theta * dR/dtheta|.

R is the sum of outputs of the network with absolute weights, without batch norm, for an input of
ones. Its logarithm here, since the sum itself overflows.
"""

import numpy as np

from nasgen.proxies.proxy import Passes


def synflow(passes: Passes) -> float:
    """log of the sum over all layers."""
    return float(np.logaddexp.reduce(passes.synflow))
