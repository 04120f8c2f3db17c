"""NWOT (Mellor et al., ICML 2021): how differently examples fire.

A kernel matrix K = b b' + (1 - b)(1 - b)' counts, for each pair of examples, the units with equal
sign; log det K is large when no two examples look alike. `nwot`, the original, sums K over the
inputs of all ReLUs, with batch statistics. The others run in evaluation mode with fresh running
statistics: `nwot_fresh` at the same places; T-CET's at the output of every convolution and linear
layer, one determinant a layer (`nwot_layers`); `nwot_outputs` sums those K first.
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
    """log det of the sum of K over the inputs of all ReLUs."""
    return float(log_det(passes.relu_agreements.sum(0)))


def nwot_fresh(passes: Passes) -> float:
    """`nwot` in evaluation mode with fresh running statistics."""
    return float(log_det(passes.fresh_relu_agreements.sum(0)))


def nwot_layers(passes: Passes) -> float:
    """Sum over convolutions and linear layers of the log det of the K of their outputs."""
    return float(layer_log_det(passes).sum())


def nwot_outputs(passes: Passes) -> float:
    """log det of the sum of K over the outputs of all convolutions and linear layers."""
    return float(log_det(passes.agreements.sum(0)))
