"""The process that ranks networks: scores of ranks, improvement, order."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from nasgen.benchmarks.tabular import gaussian_process


def test_normal_scores_follow_ranks_alone():
    values = np.array([90.0, 10.0, 91.0, 92.0])
    scores = gaussian_process.normal_scores(values)
    assert scores.sum() == pytest.approx(0) and (np.argsort(scores) == np.argsort(values)).all()
    assert (scores == gaussian_process.normal_scores(np.exp(values / 10))).all()


@pytest.mark.parametrize(("mean", "deviation", "best"), [(0.3, 1.0, 0.5), (-1.0, 0.4, 0.0)])
def test_expected_improvement_is_the_mean_of_draws(mean, deviation, best):
    draws = np.random.default_rng(0).normal(mean, deviation, 400_000)
    found = gaussian_process.expected_improvement(np.array([mean]), np.array([deviation]), best)
    assert found[0] == pytest.approx(np.maximum(draws - best, 0).mean(), abs=3e-3)


def test_a_smooth_function_is_ranked_and_its_top_is_asked():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 4))
    truth = -((features - 0.5) ** 2).sum(1)
    queried = rng.choice(500, 60, replace=False)
    process = gaussian_process.fit(features[queried], truth[queried])
    mean, deviation = gaussian_process.predict(process, features)
    assert spearmanr(mean, truth)[0] > 0.95 and (deviation >= 0).all()
    left = np.setdiff1d(np.arange(500), queried)
    options = process, features, truth[queried], left, 5
    chosen = gaussian_process.most_promising(*options)
    assert len(set(chosen)) == 5 and set(chosen) <= set(left)
    assert truth[chosen].max() > np.quantile(truth, 0.99)
