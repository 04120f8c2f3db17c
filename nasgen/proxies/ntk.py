"""NTK condition number (TE-NAS, Chen et al., ICLR 2021): largest over smallest eigenvalue.

Of the neural tangent kernel, the inner products of the examples' gradients of their summed logits.
*Lower is better*: of all proxies here, the only one that should fall with accuracy. A singular
kernel gives inf, and singular it is whatever the weights where a batch norm comes right before the
average over pixels: the summed logits of the batch are constant then.
"""

import numpy as np

from nasgen.proxies.proxy import Passes

RESOLUTION = 1e-10  # float32 gradients are good to 1e-6 or so, and eigenvalues go with their square


def ntk(passes: Passes) -> float:
    """lambda_max / lambda_min, inf where lambda_min is below what rounding resolves."""
    kernel = passes.ntk.astype(np.float64)
    if not np.isfinite(kernel).all():
        return float("nan")
    eigenvalues = np.linalg.eigvalsh(kernel)
    floor = RESOLUTION * eigenvalues[-1]
    return float(eigenvalues[-1] / eigenvalues[0]) if eigenvalues[0] > floor else float("inf")
