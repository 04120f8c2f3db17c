"""NTK condition number (TE-NAS, Chen et al., ICLR 2021): largest over smallest eigenvalue.

Of the neural tangent kernel, the inner products of the examples' gradients of their summed logits.
*Lower is better*: of all proxies here, the only one that should fall with accuracy. A singular
kernel gives inf.
"""

import numpy as np

from nasgen.proxies.proxy import Passes


def ntk(passes: Passes) -> float:
    """lambda_max / lambda_min, inf where lambda_min is zero up to rounding."""
    kernel = passes.ntk.astype(np.float64)
    if not np.isfinite(kernel).all():
        return float("nan")
    eigenvalues = np.linalg.eigvalsh(kernel)
    floor = eigenvalues[-1] * len(eigenvalues) * np.finfo(np.float64).eps
    return float(eigenvalues[-1] / eigenvalues[0]) if eigenvalues[0] > floor else float("inf")
