"""EPE-NAS (Lopes, Alirezazadeh & Alexandre, ICANN 2021): how alike the examples of one class look.

For each class c of the batch, s_c = sum of log(|r| + 1e-5) over the correlation matrix r of its
examples' Jacobian rows. Up to 100 classes the score is sum_c |s_c|. Beyond, s_c is divided by the
number of the class's examples and the score is the sum over ordered pairs of classes of
|s_c - s_d|, divided by the number of classes seen; classes with one example are left out there, as
in the authors' code.
"""

import numpy as np
from jaxtyping import Float

from nasgen.proxies.jacob_cov import K, correlations
from nasgen.proxies.proxy import Passes

MANY_CLASSES = 100  # above, scores of classes are compared in pairs


def epe_nas(passes: Passes) -> float:
    """From the classes' s_c; NaN for a task that does not put each example into one class."""
    if passes.targets.ndim > 1 or not np.issubdtype(passes.targets.dtype, np.integer):
        return float("nan")
    classes, counts = np.unique(passes.targets, return_counts=True)
    if passes.num_classes <= MANY_CLASSES:
        return float(np.abs(_class_scores(passes, classes)).sum())
    classes, counts = classes[counts > 1], counts[counts > 1]
    if not len(classes):
        return float("nan")
    scores = _class_scores(passes, classes) / counts
    return float(np.abs(scores[:, None] - scores[None]).sum() / len(scores))


def _class_scores(passes: Passes, classes: np.ndarray) -> Float[np.ndarray, " classes"]:
    matrices = [correlations(passes.jacobian[passes.targets == c]) for c in classes]
    return np.array([np.log(np.abs(matrix) + K).sum() for matrix in matrices])
