"""GradSign (Zhang & Jia, ICLR 2022): do single examples agree on the direction of each weight?

Sum over weights of |sum_i sign(dL_i/dtheta)|, L_i the loss of example i alone in its batch.
"""

import numpy as np

from nasgen.proxies.proxy import Passes


def grad_sign(passes: Passes) -> float:
    """sum_w |sum_i sign g_iw|."""
    return float(sum(np.abs(signs.astype(np.float64)).sum() for signs in passes.sign_sums))
