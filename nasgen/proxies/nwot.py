"""NWOT, layer-wise (Mellor et al., ICML 2021, as used in T-CET): how differently examples fire.

A layer's kernel matrix K counts, for each pair of examples, the output units with equal sign;
log det K is large when no two examples look alike. Here codes are taken at the output of every
convolution and linear layer in evaluation mode with fresh running statistics.
"""

import numpy as np
from jaxtyping import Float

from nasgen.proxies.proxy import Passes


def layer_log_det(passes: Passes) -> Float[np.ndarray, " layers"]:
    """log det K of each layer, 0 where K is singular."""
    return log_det(passes.agreements)


def log_det(matrices: Float[np.ndarray, "*stack n n"]) -> Float[np.ndarray, " *stack"]:
    """log det of positive semi-definite matrices of whole numbers, 0 where singular.

    K is exact, so singularity is told by its rank (smallest eigenvalue at float64's rounding
    level), not by whether rounding happens to leave a determinant of exactly zero: that would make
    the score of narrow layers noise, hundreds below zero."""
    logs, largest = _log_abs_det(matrices), matrices.trace(axis1=-2, axis2=-1)
    # log det(K + 1) - log det K is at least log(1 + 1 / smallest eigenvalue): a cheap bound that
    # settles all but a few.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        smallest = 1 / np.expm1(_log_abs_det(matrices + np.eye(matrices.shape[-1])) - logs)
    doubtful = ~(smallest > 1e-8 * matrices.shape[-1] * largest)
    logs[doubtful] = _log_det_by_eigenvalues(matrices[doubtful])
    return logs


def _log_abs_det(matrices) -> np.ndarray:
    return np.array(np.linalg.slogdet(matrices)[1])


def _log_det_by_eigenvalues(matrices) -> np.ndarray:
    eigenvalues = np.linalg.eigvalsh(matrices)
    floor = eigenvalues[..., -1:] * matrices.shape[-1] * 1e-14
    regular = eigenvalues[..., :1] > floor
    logs = np.log(np.where(regular, np.maximum(eigenvalues, floor), 1.0))
    return logs.sum(-1)


def nwot(passes: Passes) -> float:
    """log det of the sum of all layers' K."""
    return float(log_det(passes.agreements.sum(0)))
