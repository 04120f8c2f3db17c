"""AZ-NAS (Lee & Ham, CVPR 2024): three scores of a network's blocks, and ranks over a pool.

The blocks are the stem and the cells. Expressivity: sum over blocks of the entropy
-sum p log(p + 1e-8) of the normalised eigenvalues p of the channels' covariance. Progressivity: the
least gain in entropy from one block to the next. Trainability: mean over blocks of
2 - s - 1 / (s + 1e-6), s the largest singular value of what the block does to random signs that
come back through it; at most 0, at s = 1. The ensemble adds the multiply-adds as a fourth part and
sums the logarithms of the ranks within the pool.
"""

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from nasgen.proxies.proxy import Passes


def entropies(passes: Passes) -> Float[np.ndarray, " blocks"]:
    """The entropy of every block's covariance; NaN where a block yields a constant."""
    return np.array([_entropy(matrix.astype(np.float64)) for matrix in passes.blocks.covariances])


def _entropy(covariance: np.ndarray) -> float:
    if not np.isfinite(covariance).all():
        return float("nan")
    eigenvalues = np.maximum(np.linalg.eigvalsh(covariance), 0)
    total = eigenvalues.sum()
    shares = eigenvalues / total if total > 0 else np.full_like(eigenvalues, np.nan)
    return -float((shares * np.log(shares + 1e-8)).sum())


def az_expressivity(passes: Passes) -> float:
    """Sum of the blocks' entropies."""
    return float(entropies(passes).sum())


def az_progressivity(passes: Passes) -> float:
    """Least difference of successive blocks' entropies."""
    return float(np.diff(entropies(passes)).min())


def az_trainability(passes: Passes) -> float:
    """Mean over blocks of 2 - s - 1 / (s + 1e-6); -inf where a block passes its input on as it is,
    as in the authors' code."""
    return float(np.mean([_trainability(t.astype(np.float64)) for t in passes.blocks.transfers]))


def _trainability(transfer: np.ndarray) -> float:
    if not np.isfinite(transfer).all():
        return float("nan")
    if _is_identity(transfer):
        return float("-inf")
    largest = np.linalg.svd(transfer, compute_uv=False)[0]
    return float(2 - largest - 1 / (largest + 1e-6))


def _is_identity(transfer: np.ndarray) -> bool:
    """Whether the signs came back as they were: then this is their second moment, symmetric with
    ones on the diagonal."""
    square = transfer.shape[0] == transfer.shape[1]
    close = dict(rtol=0, atol=1e-6)  # float32's rounding
    return bool(
        square
        and np.allclose(np.diag(transfer), 1, **close)
        and np.allclose(transfer, transfer.T, **close)
    )


def log_rank_sum(parts: Float[np.ndarray, "parts networks"]) -> Float[np.ndarray, " networks"]:
    """sum over parts of log(rank / pool), rank 1 the lowest, equals sharing their mean rank.

    A network with a part that is NaN gets NaN and leaves the pool of the others; -inf ranks lowest.
    """
    present = ~np.isnan(parts).any(0)
    ranks = rankdata(parts[:, present], axis=1)
    scores = np.full(parts.shape[1], np.nan)
    scores[present] = np.log(ranks / max(present.sum(), 1)).sum(0)
    return scores
