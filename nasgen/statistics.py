"""How well scores order architectures: signed rank correlations and their bootstrap intervals.

Every statistic takes `weights`: how often each architecture counts, whole numbers of any leading
shape, by default once each. A bootstrap sample is a row of such counts, so all samples are computed
at once. Ties share their mean rank. Where either side is constant a correlation is nan.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.stats import t

Values = Real[np.ndarray, " items"]
Counts = Real[np.ndarray, "*samples items"]

TOP = 0.1  # the share of the best by accuracy in `spearman_top`


def down_the_ranks(num: int, last: int) -> Int[np.ndarray, " num"]:
    """`num` different places from 0 on, ever further apart, up to below `last` where there are so
    many."""
    places = np.geomspace(1, max(last, num, 1), num).round().astype(int) - 1
    return np.maximum(places, np.arange(num))


def ranks(values: Values, weights: Counts) -> Float[np.ndarray, "*samples items"]:
    """Ranks from 1 on, in the sample in which every value occurs `weights` times."""
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(weights[..., order], -1)
    _, first, sizes = np.unique(values[order], return_index=True, return_counts=True)
    last = first + sizes - 1
    below = np.where(first > 0, ends[..., first - 1], 0)
    of_group = (below + ends[..., last] + 1) / 2
    found = np.empty(weights.shape)
    found[..., order] = np.repeat(of_group, sizes, -1)
    return found


def pearson(x: Counts, y: Counts, weights: Counts) -> Float[np.ndarray, "*samples"]:
    """Weighted correlation over the last axis."""
    total = weights.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (v - (weights * v).sum(-1, keepdims=True) / total for v in (x, y))
        covariance = (weights * x * y).sum(-1)
        found = covariance / np.sqrt((weights * x * x).sum(-1) * (weights * y * y).sum(-1))
    return np.asarray(np.clip(found, -1, 1))


def spearman(
    scores: Values, accuracies: Values, weights: Counts | None = None
) -> Float[np.ndarray, "*samples"]:
    """Signed Spearman correlation."""
    weights = _counts(scores, weights)
    return pearson(ranks(scores, weights), ranks(accuracies, weights), weights)


def kendall(
    scores: Values, accuracies: Values, weights: Counts | None = None
) -> Float[np.ndarray, "*samples"]:
    """Signed Kendall correlation, tau-b: sum over pairs of the product of signs, over the geometric
    mean of the pairs that are not tied on either side. Takes memory of items^2."""
    weights = _counts(scores, weights)
    signs = [np.sign(v[:, None] - v[None, :]).astype(np.float32) for v in (scores, accuracies)]
    pairs = partial(_pair_sum, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        untied = np.sqrt(pairs(abs(signs[0])) * pairs(abs(signs[1])))
        return np.asarray(np.clip(pairs(signs[0] * signs[1]) / untied, -1, 1))


def _pair_sum(weights: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """sum_ij w_i w_j m_ij, exact for whole numbers (each row's sum is below 2^24)."""
    rows = (weights.astype(np.float32) @ matrix).astype(np.float64)
    return np.asarray((rows * weights).sum(-1))


def spearman_top(
    scores: Values, accuracies: Values, weights: Counts | None = None, *, share: float = TOP
) -> Float[np.ndarray, "*samples"]:
    """Spearman among the best `share` of the sample by accuracy (at least two; ties at the cut: the
    first stay)."""
    weights = _counts(scores, weights)
    order = np.argsort(-accuracies, kind="stable")
    sorted_weights = weights[..., order]
    before = np.cumsum(sorted_weights, -1) - sorted_weights
    most = np.maximum(np.ceil(share * weights.sum(-1, keepdims=True)), 2)
    kept = np.empty(weights.shape)
    kept[..., order] = np.clip(most - before, 0, sorted_weights)
    return spearman(scores, accuracies, kept)


def spearman_partial(
    scores: Values, accuracies: Values, weights: Counts | None = None, *, given: Values
) -> Float[np.ndarray, "*samples"]:
    """Spearman of what `given` leaves unexplained: the correlation of the residuals of both ranks
    on the ranks of `given`. nan where `given` says all that a side says (params given params)."""
    weights = _counts(scores, weights)
    x, y, z = (ranks(v, weights) for v in (scores, accuracies, given))
    xy, xz, yz = (pearson(*pair, weights) for pair in ((x, y), (x, z), (y, z)))
    left = (1 - xz**2) * (1 - yz**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (xy - xz * yz) / np.sqrt(left)
    return np.where(left > 1e-12, np.clip(found, -1, 1), np.nan)


def bootstrap_weights(
    rng: np.random.Generator, num_samples: int, num_items: int
) -> Float[np.ndarray, "samples items"]:
    """How often each item is drawn, in samples of as many as there are, with replacement."""
    uniform = np.full(num_items, 1 / num_items)
    return rng.multinomial(num_items, uniform, size=num_samples).astype(np.float64)


def interval(samples: Float[np.ndarray, " samples"], *, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of a statistic's bootstrap samples; nan where none is finite."""
    finite = samples[np.isfinite(samples)]
    if not len(finite):
        return np.nan, np.nan
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval_of_mean(values: Values, *, level: float = 0.95) -> list[float]:
    """The interval of the mean of at least two values (Student's t)."""
    half = t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(values.mean() - half), float(values.mean() + half)]


def with_interval(
    statistic: Callable, scores: Values, accuracies: Values, weights: Counts
) -> dict[str, float]:
    """A statistic under "", and the ends of its interval from the bootstrap `weights` under `_low`
    and `_high`: what names of figures end in."""
    low, high = interval(statistic(scores, accuracies, weights))
    return {"": float(statistic(scores, accuracies)), "_low": low, "_high": high}


def median_with_interval(
    rng: np.random.Generator, values: Sequence[float], *, num_samples: int = 2_000
) -> tuple[float, tuple[float, float]]:
    """The median and its bootstrap interval; with few values that is about their range. Values may
    be infinite: for what was never reached."""
    values = np.asarray(values, np.float64)
    rows = rng.integers(0, len(values), (num_samples, len(values)))
    low, high = np.quantile(np.median(values[rows], 1), [0.025, 0.975], method="nearest")
    return float(np.median(values)), (float(low), float(high))


def agreement(
    scores: Values,
    accuracies: Values,
    params: Values,
    weights: Counts,
) -> dict[str, float]:
    """Every statistic of one proxy and one measure, each with its interval (`_low`, `_high`) from
    the bootstrap `weights`: `spearman`, `kendall`, `spearman_top10`, `partial_given_params`."""
    statistics: Mapping[str, Callable] = {
        "spearman": spearman,
        "kendall": kendall,
        "spearman_top10": spearman_top,
        "partial_given_params": partial(spearman_partial, given=params),
    }
    figures: dict[str, float] = {}
    for name, statistic in statistics.items():
        found = with_interval(statistic, scores, accuracies, weights)
        figures |= {f"{name}{end}": value for end, value in found.items()}
    return figures


def all_finite(*values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Where every one of the arrays is finite."""
    return np.logical_and.reduce([np.isfinite(np.asarray(v, np.float64)) for v in values])


def _counts(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    return np.ones(len(values)) if weights is None else weights


def wilson_interval(fraction: float, total: int, *, z: float = 1.959964) -> tuple[float, float]:
    """The interval of a fraction of `total` trials, 95 % by default (Wilson, JASA 1927)."""
    centre = fraction + z * z / (2 * total)
    spread = z * math.sqrt(fraction * (1 - fraction) / total + z * z / (4 * total * total))
    low, high = ((centre + sign * spread) / (1 + z * z / total) for sign in (-1, 1))
    return max(low, 0.0), min(high, 1.0)
