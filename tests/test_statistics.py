"""Rank statistics: against SciPy, and by what must hold of them."""

import time

import numpy as np
import pytest
import scipy.stats

from nasgen import statistics

RNG = np.random.default_rng


def _tied(seed, num=60):
    """Two related lists with ties, and a third."""
    rng = RNG(seed)
    x = rng.integers(0, 15, num).astype(float)
    return x, np.round(x + rng.normal(0, 6, num)), rng.integers(0, 9, num).astype(float)


@pytest.mark.parametrize("seed", range(5))
def test_correlations_equal_scipy_with_ties(seed):
    x, y, _ = _tied(seed)
    assert statistics.spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert statistics.kendall(x, y) == pytest.approx(scipy.stats.kendalltau(x, y).statistic)
    np.testing.assert_allclose(statistics.ranks(x, np.ones(60)), scipy.stats.rankdata(x))


@pytest.mark.parametrize("seed", range(5))
def test_partial_is_the_correlation_of_rank_residuals(seed):
    x, y, z = _tied(seed)
    ranked = [scipy.stats.rankdata(v) for v in (x, y, z)]
    fits = [np.polynomial.Polynomial.fit(ranked[2], r, 1)(ranked[2]) for r in ranked[:2]]
    residuals = [r - fit for r, fit in zip(ranked[:2], fits, strict=True)]
    expected = scipy.stats.pearsonr(*residuals).statistic
    assert statistics.spearman_partial(x, y, given=z) == pytest.approx(expected)


def test_partial_given_itself_says_nothing():
    x, y, _ = _tied(0)
    assert np.isnan(statistics.spearman_partial(x, y, given=np.exp(x / 10)))


def test_top_share_reads_the_best_alone():
    rng = RNG(0)
    accuracies, scores = rng.permutation(200).astype(float), rng.normal(size=200)
    best = np.argsort(-accuracies)[:20]
    expected = scipy.stats.spearmanr(scores[best], accuracies[best]).statistic
    assert statistics.spearman_top(scores, accuracies) == pytest.approx(expected)
    changed = np.where(accuracies < np.sort(accuracies)[-20], -scores, scores)
    assert statistics.spearman_top(changed, accuracies) == pytest.approx(expected)


STATISTICS = {
    "spearman": statistics.spearman,
    "kendall": statistics.kendall,
    "top": lambda *a: statistics.spearman_top(*a, share=0.5),
    "partial": lambda *a: statistics.spearman_partial(*a, given=_tied(3)[2]),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_signed_and_blind_to_monotone_changes(name):
    x, y, _ = _tied(3)
    value = STATISTICS[name](x, y)
    assert -1 <= value <= 1
    assert STATISTICS[name](np.exp(x), y) == pytest.approx(value)
    assert STATISTICS[name](-x, y) == pytest.approx(-value)


def test_perfect_order_is_one_and_a_constant_is_nan():
    y = np.arange(30.0)
    for statistic in (statistics.spearman, statistics.kendall, statistics.spearman_top):
        assert statistic(y**3, y) == pytest.approx(1)
        assert np.isnan(statistic(np.ones(30), y))


@pytest.mark.parametrize("name", ["spearman", "kendall", "top"])
def test_weights_are_repetitions(name):
    x, y, z = _tied(1)
    counts = statistics.bootstrap_weights(RNG(0), 4, 60)
    assert (counts.sum(1) == 60).all()
    found = STATISTICS[name](x, y, counts)
    for row, value in zip(counts.astype(int), found, strict=True):
        repeated = [np.repeat(v, row) for v in (x, y)]
        assert value == pytest.approx(STATISTICS[name](*repeated))
    partial = statistics.spearman_partial(x, y, counts, given=z)
    repeated = [np.repeat(v, counts[0].astype(int)) for v in (x, y, z)]
    again = statistics.spearman_partial(*repeated[:2], given=repeated[2])
    assert partial[0] == pytest.approx(again)


def test_intervals_cover_the_truth_as_often_as_they_say():
    truth, inside = 6 / np.pi * np.arcsin(0.6 / 2), 0  # Spearman of a normal pair of correlation .6
    for seed in range(100):
        rng = RNG(seed)
        x = rng.normal(size=150)
        y = 0.6 * x + 0.8 * rng.normal(size=150)
        samples = statistics.spearman(x, y, statistics.bootstrap_weights(rng, 200, 150))
        low, high = statistics.interval(samples)
        inside += low <= truth <= high
    assert 87 <= inside <= 100


def test_agreement_names_every_figure_with_its_interval_and_is_quick():
    rng = RNG(0)
    accuracies, params = rng.normal(size=1000), rng.normal(size=1000)
    scores = accuracies + rng.normal(size=1000)
    weights = statistics.bootstrap_weights(rng, 500, 1000)
    started = time.perf_counter()
    figures = statistics.agreement(scores, accuracies, params, weights)
    assert time.perf_counter() - started < 10
    names = ("spearman", "kendall", "spearman_top10", "partial_given_params")
    assert set(figures) == {name + end for name in names for end in ("", "_low", "_high")}
    for name in names:
        assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]


@pytest.mark.parametrize("total", [1, 10, 360])
def test_wilson_interval_solves_its_equation(total):
    """The ends are the p with (found - p)^2 = z^2 p (1 - p) / total; all right: n / (n + z^2)."""
    for right in {0, total // 3, total - 1, total}:
        found = right / total
        low, high = statistics.wilson_interval(found, total, z=2.0)
        assert 0 <= low <= found <= high <= 1
        for p in (low, high):
            assert (found - p) ** 2 == pytest.approx(4 * p * (1 - p) / total, abs=1e-9)
    assert statistics.wilson_interval(1.0, total, z=2.0) == pytest.approx(
        (total / (total + 4), 1.0)
    )


def test_wilson_interval_covers():
    """In 95 % of repeated experiments the interval holds the true fraction."""
    rng = np.random.default_rng(0)
    for fraction in (0.5, 0.9, 0.97):
        found = rng.binomial(360, fraction, 4000) / 360
        intervals = np.array([statistics.wilson_interval(f, 360) for f in found])
        covered = ((intervals[:, 0] <= fraction) & (fraction <= intervals[:, 1])).mean()
        assert 0.93 < covered < 0.97
