"""L2 norm (a baseline of NAS-Bench-Suite-Zero, Krishnakumar et al., NeurIPS 2022): sum over layers
of the L2 norm of the weights theta."""

import numpy as np

from nasgen.proxies.proxy import Passes


def l2_norm(passes: Passes) -> float:
    """sum_l |theta_l|_2."""
    return float(sum(np.linalg.norm(k.ravel().astype(np.float64)) for k in passes.kernels))
