"""Plain (Mozer & Smolensky, NeurIPS 1988, as a proxy in Abdelfattah et al., ICLR 2021): the sum of
theta * dL/dtheta, SNIP without the absolute value.

A layer before a batch norm adds nothing but rounding: the loss does not notice its scale.
"""

import numpy as np

from nasgen.proxies.proxy import Passes


def plain(passes: Passes) -> float:
    """sum theta * g."""
    pairs = zip(passes.kernels, passes.gradients, strict=True)
    return float(sum(np.vdot(k.astype(np.float64), g.astype(np.float64)) for k, g in pairs))
