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

# The likeliest for 448 networks that searches had scored (digits, predicted accuracy).
_LENGTH = 0.4  # of the kernel, in root mean squares of the features' standard deviations
_NOISE = 0.01  # of the variance: what differs between networks with equal features
_ERROR = 0.35  # of the prior, in standard deviations of what it says of a generator's networks,
_CERTAINTY = 8  # which counts as so many exact scores
_AMONG = 256  # rows that those which are scored together are chosen from


class Belief(NamedTuple):
    """A posterior. scale: of the features, infinite for those that do not vary. intercept, slope:
    of the prior. variance: of its errors before any was seen. known: scaled features of what was
    scored; whiten: the inverse Cholesky factor of their covariance over the variance; weights: of
    covariances with them."""

    prior: Prior
    scale: Float[np.ndarray, " features"]
    intercept: float
    slope: float
    variance: float
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
    *,
    same_units: bool,
) -> Belief:
    """What the exact scores say; none is as good as any number of them.

    reference: features of networks as the generators write them. same_units: of prior and scores;
    else the prior's slope is fitted, too, and is not negative, since what was scored is alike in
    the prior and a slope may come out so by chance."""
    deviation = reference.std(0)
    varies = deviation > 1e-9 * (1 + np.abs(reference).max(0))
    scale = np.where(varies, deviation, np.inf) * np.sqrt(max(varies.sum(), 1))
    known = features / scale
    covariance = _kernel(known, known) + _NOISE * np.eye(len(known))
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    said = prior(features) if len(scores) else np.zeros(0)
    intercept, slope = _trend(whiten, said, scores, same_units)
    errors = scores - intercept - slope * said
    weights = whiten.T @ whiten @ errors
    foreseen = (_ERROR * slope * prior(reference).std()) ** 2
    variance = (errors @ weights + _CERTAINTY * foreseen) / (len(scores) + _CERTAINTY)
    return Belief(prior, scale, intercept, slope, float(variance) or 1.0, known, whiten, weights)


def expect(belief: Belief, rows: Rows) -> Expected:
    """Scores of networks with these features."""
    across = _kernel(rows / belief.scale, belief.known)
    told = belief.whiten @ across.T
    left = np.maximum(1 - (told**2).sum(0), 0)
    mean = belief.intercept + belief.slope * belief.prior(rows) + across @ belief.weights
    return Expected(mean, np.sqrt(belief.variance * left))


def choose(belief: Belief, rows: Rows, expected: Expected, num: int, optimism: float) -> list[int]:
    """Indices of `num` rows, or of all if there are fewer: one after the other the largest mean
    plus `optimism` standard deviations, as if the ones before had been scored as expected."""
    hopes = expected.mean + optimism * expected.deviation
    first = np.argsort(-hopes, kind="stable")[: max(_AMONG, num)]
    scaled, mean = rows[first] / belief.scale, expected.mean[first]
    told = belief.whiten @ _kernel(scaled, belief.known).T
    covariance = _kernel(scaled, scaled) - told.T @ told
    free, chosen = np.ones(len(first), bool), []
    while len(chosen) < min(num, len(first)):
        deviation = np.sqrt(belief.variance * np.maximum(np.diag(covariance), 0))
        one = int(np.argmax(np.where(free, mean + optimism * deviation, -np.inf)))
        chosen.append(one)
        free[one] = False
        column = covariance[:, one]
        covariance = covariance - np.outer(column, column) / (column[one] + _NOISE)
    return first[chosen].tolist()


def _kernel(
    a: Float[np.ndarray, "a features"], b: Float[np.ndarray, "b features"]
) -> Float[np.ndarray, "a b"]:
    """Matern's, of order 5/2."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    r = np.sqrt(5 * np.maximum(squares, 0)) / _LENGTH
    return (1 + r + r**2 / 3) * np.exp(-r)


def _trend(whiten, said, scores, same_units: bool) -> tuple[float, float]:
    """Generalised least squares."""
    if not len(scores):
        return 0.0, 1.0
    one, said, scores = (whiten @ column for column in (np.ones(len(said)), said, scores))
    slope = 1.0
    if not same_units:
        rest = said - one * (one @ said) / (one @ one)
        slope = max(float(rest @ scores) / (float(rest @ rest) + 1e-12), 0.0)
    return float(one @ (scores - slope * said) / (one @ one)), slope
