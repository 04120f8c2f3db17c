"""What a search believes of scores: a prior prediction, and a Gaussian process of its errors.

The prior is a predictor that was fitted on many networks. It tells good from bad, but among the
best of thousands, where a search spends its exact scores, it says about the same of all: what it
ranks first there is what it overrates. How these differ is learned by their features from the exact
scores of the task at hand; and since the process says how sure it is, networks that are scored
together are unlike each other (GP-BUCB: Desautels, Krause and Burdick, "Parallelizing
exploration-exploitation tradeoffs in Gaussian process bandit optimization", JMLR 2014).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Rows = Float[np.ndarray, "rows features"]
Prior = Callable[[Rows], Float[np.ndarray, " rows"]]

# Near the likeliest for what searches had scored (digits, predicted accuracy), and tried in others.
_LENGTH = 0.3  # of the kernel, in root mean squares of the features' standard deviations
_LINEAR = 1.0  # of the variance, a standard deviation from the mean: what leads on beyond the known
_NOISE = 0.01  # of the variance: what differs between networks with equal features
_ERROR = 0.3  # of the prior, in standard deviations of what it says of a generator's networks,
_CERTAINTY = 8  # which counts as so many exact scores
_AMONG = 256  # rows that those which are scored together are chosen from


class Belief(NamedTuple):
    """A posterior. center, scale: of the features; infinite for those that do not vary. mean,
    variance: of the prior's errors before any was seen. linear: see `_LINEAR`; 0 as long as nothing
    was scored, since no line is known and hopes would go to the extremes. known: scaled features of
    what was scored; whiten: the inverse Cholesky factor of their covariance over the variance;
    weights: of covariances with them."""

    prior: Prior
    center: Float[np.ndarray, " features"]
    scale: Float[np.ndarray, " features"]
    mean: float
    variance: float
    linear: float
    known: Float[np.ndarray, "scored features"]
    whiten: Float[np.ndarray, "scored scored"]
    weights: Float[np.ndarray, " scored"]


class Expected(NamedTuple):
    """Of some networks: the expected scores and their standard deviations."""

    mean: Float[np.ndarray, " rows"]
    deviation: Float[np.ndarray, " rows"]


def believe(
    prior: Prior,
    reference: Float[np.ndarray, "reference features"],
    features: Float[np.ndarray, "scored features"],
    scores: Float[np.ndarray, " scored"],
) -> Belief:
    """What the exact scores say, if there are any. reference: features of networks as the
    generators write them; the prior is in the scores' units, or all equal."""
    center, deviation = reference.mean(0), reference.std(0)
    varies = deviation > 1e-9 * (1 + np.abs(center))
    scale = np.where(varies, deviation, np.inf) * np.sqrt(max(varies.sum(), 1))
    known, linear = (features - center) / scale, _LINEAR if len(scores) else 0.0
    covariance = _kernel(known, known, linear) + _NOISE * np.eye(len(known))
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    errors = scores - prior(features) if len(scores) else scores
    one = whiten @ np.ones(len(scores))
    mean = float(one @ whiten @ errors / (one @ one)) if len(scores) else 0.0
    weights = whiten.T @ whiten @ (errors - mean)
    foreseen = (_ERROR * prior(reference).std()) ** 2
    variance = ((errors - mean) @ weights + _CERTAINTY * foreseen) / (len(scores) + _CERTAINTY)
    variance = float(variance) or 1.0
    return Belief(prior, center, scale, mean, variance, linear, known, whiten, weights)


def expect(belief: Belief, rows: Rows) -> Expected:
    """Scores of networks with these features."""
    scaled, across, told = _told(belief, rows)
    left = np.maximum(1 + belief.linear * (scaled**2).sum(1) - (told**2).sum(0), 0)
    mean = belief.prior(rows) + belief.mean + across @ belief.weights
    return Expected(mean, np.sqrt(belief.variance * left))


def choose(belief: Belief, rows: Rows, expected: Expected, num: int, optimism: float) -> list[int]:
    """Indices of `num` rows, or of all if there are fewer: one after the other the largest mean
    plus `optimism` standard deviations, as if the ones before had been scored as expected."""
    hopes = expected.mean + optimism * expected.deviation
    first = np.argsort(-hopes, kind="stable")[: max(_AMONG, num)]
    mean = expected.mean[first]
    scaled, _, told = _told(belief, rows[first])
    covariance = _kernel(scaled, scaled, belief.linear) - told.T @ told
    free, chosen = np.ones(len(first), bool), []
    while len(chosen) < min(num, len(first)):
        deviation = np.sqrt(belief.variance * np.maximum(np.diag(covariance), 0))
        one = int(np.argmax(np.where(free, mean + optimism * deviation, -np.inf)))
        chosen.append(one)
        free[one] = False
        column = covariance[:, one]
        covariance = covariance - np.outer(column, column) / (column[one] + _NOISE)
    return first[chosen].tolist()


def _told(belief: Belief, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of rows: scaled features; covariances with what is known; the same, whitened, whose products
    are what the known takes off the rows' own covariance."""
    scaled = (rows - belief.center) / belief.scale
    across = _kernel(scaled, belief.known, belief.linear)
    return scaled, across, belief.whiten @ across.T


def _kernel(
    a: Float[np.ndarray, "a features"], b: Float[np.ndarray, "b features"], linear: float
) -> Float[np.ndarray, "a b"]:
    """Matern's, of order 5/2, and a linear one."""
    products = a @ b.T
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * products
    r = np.sqrt(5 * np.maximum(squares, 0)) / _LENGTH
    return (1 + r + r**2 / 3) * np.exp(-r) + linear * products
