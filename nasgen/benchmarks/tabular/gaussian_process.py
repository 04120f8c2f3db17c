"""A Gaussian process that ranks networks by few that are trained (scikit-learn's, Matern 5/2).

It learns normal scores of ranks, not accuracies: a few networks that fail to train would else be
all that it sees. What is sought is the largest expected improvement.
"""

import warnings

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm, rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

_CHUNK = 50_000


def normal_scores(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """What a standard normal sample of this size has at the ranks of the values."""
    return norm.ppf((rankdata(values) - 0.5) / len(values))


def fit(
    features: Float[np.ndarray, "queries features"], values: Float[np.ndarray, " queries"]
) -> GaussianProcessRegressor:
    """The process; amplitude, length and noise by maximum likelihood."""
    width = np.sqrt(features.shape[1])
    kernel = ConstantKernel(1.0) * Matern(width, (width / 20, width * 50), nu=2.5)
    kernel += WhiteKernel(1e-2, (1e-5, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        process = GaussianProcessRegressor(kernel, normalize_y=True)
        return process.fit(features, normal_scores(values))


def predict(
    process: GaussianProcessRegressor, features: Float[np.ndarray, "rows features"]
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Mean and deviation of each row's normal score."""
    starts = range(0, len(features), _CHUNK)
    parts = [process.predict(features[i : i + _CHUNK], return_std=True) for i in starts]
    means, deviations = zip(*parts, strict=True)
    return np.concatenate(means), np.concatenate(deviations)


def expected_improvement(
    mean: Float[np.ndarray, " rows"], deviation: Float[np.ndarray, " rows"], best: float
) -> Float[np.ndarray, " rows"]:
    """E max(score - best, 0)."""
    z = (mean - best) / np.maximum(deviation, 1e-9)
    return (mean - best) * norm.cdf(z) + deviation * norm.pdf(z)


def most_promising(
    process: GaussianProcessRegressor,
    features: Float[np.ndarray, "rows features"],
    values: Float[np.ndarray, " queries"],
    candidates: Int[np.ndarray, " candidates"],
    num: int,
) -> Int[np.ndarray, " num"]:
    """The candidates of the largest expected improvement over the `values` it was fitted to."""
    if not len(candidates):
        return candidates
    mean, deviation = predict(process, features[candidates])
    gains = expected_improvement(mean, deviation, normal_scores(values).max())
    return candidates[np.argsort(-gains, kind="stable")[:num]]
