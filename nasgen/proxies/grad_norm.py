"""Gradient norm (Abdelfattah et al., ICLR 2021): sum over layers of the L2 norm of dL/dtheta."""

import numpy as np

from nasgen.proxies.proxy import Passes


def grad_norm(passes: Passes) -> float:
    """sum_l |g_l|_2."""
    return float(sum(np.linalg.norm(g.ravel().astype(np.float64)) for g in passes.gradients))
