"""Jacobian covariance (Mellor et al., arXiv 2006.04647v1; Abdelfattah et al., ICLR 2021).

C is the correlation matrix of the rows of the Jacobian, one an example, and the score
-sum_v (log(v + k) + 1 / (v + k)) over C's eigenvalues v, k = 1e-5: high where examples pull the
network in different directions. Batch norm couples the examples of a batch; one right before the
average over pixels makes the Jacobian zero and the score NaN.
"""

import numpy as np
from jaxtyping import Float

from nasgen.proxies.proxy import Passes

K = 1e-5


def correlations(rows: Float[np.ndarray, "rows inputs"]) -> Float[np.ndarray, "rows rows"]:
    """Pearson's, NaN for a row without any variation."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.atleast_2d(np.corrcoef(rows.astype(np.float64)))


def jacob_cov(passes: Passes) -> float:
    """-sum_v (log(v + k) + 1 / (v + k))."""
    matrix = correlations(passes.jacobian)
    if not np.isfinite(matrix).all():
        return float("nan")
    shifted = np.maximum(np.linalg.eigvalsh(matrix), 0) + K
    return -float((np.log(shifted) + 1 / shifted).sum())
