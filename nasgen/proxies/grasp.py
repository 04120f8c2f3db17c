"""GraSP (Wang et al., ICLR 2020): how far removing a weight changes the gradient flow.

-sum theta * (H g), H the Hessian of the loss, g its gradient; in the sign of Abdelfattah et al.
(ICLR 2021). It varies much from one batch to the next.
"""

import numpy as np
from jaxtyping import Float

from nasgen.proxies.proxy import Passes


def grasp(passes: Passes) -> float:
    """Sum over layers."""
    return float(layer_grasp(passes).sum())


def layer_grasp(passes: Passes) -> Float[np.ndarray, " layers"]:
    """-sum theta * (H g) of each layer."""
    pairs = zip(passes.kernels, passes.curvature, strict=True)
    return -np.array([np.vdot(k.astype(np.float64), h.astype(np.float64)) for k, h in pairs])
