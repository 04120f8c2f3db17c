"""The surrogate: exact on what it can express, corrected by few scores of another task."""

from functools import partial

import numpy as np
from scipy.stats import spearmanr

from nasgen.models.surrogate import fit_surrogate, predict, refine

RNG = np.random.default_rng(0)


def _quadratic(x):
    return 3 + x[:, 0] - 2 * x[:, 1] * x[:, 2] + 0.5 * x[:, 0] ** 2


def test_fits_a_quadratic():
    x = RNG.normal(size=(400, 4)) * [1, 3, 0.5, 2] + 5
    surrogate = fit_surrogate(x[:300], _quadratic(x[:300]), ridge=1e-4)
    np.testing.assert_allclose(predict(surrogate, x[300:]), _quadratic(x[300:]), rtol=1e-2)


def test_ridge_shrinks_towards_the_mean():
    x = RNG.normal(size=(50, 3))
    y = _quadratic(x)
    spread = [np.std(predict(fit_surrogate(x, y, ridge=r), x)) for r in (1e-3, 1e2, 1e6)]
    assert spread[0] > spread[1] > spread[2]
    assert spread[2] < 0.01 * spread[0]


def test_refined_ranks_follow_the_new_task():
    """Another scale and a shifted preference: a few exact scores mend the ranks, and few features
    of many constant ones do no harm."""
    x = np.column_stack([RNG.normal(size=(500, 4)), np.ones(500)])
    surrogate = fit_surrogate(x[:200], _quadratic(x[:200]))
    new_task = 40 * _quadratic(x) + 100 * x[:, 3]
    before = spearmanr(predict(surrogate, x[300:]), new_task[300:])[0]
    refined = refine(partial(predict, surrogate), x[200:230], new_task[200:230], x[300:])
    after = spearmanr(refined, new_task[300:])[0]
    assert after > 0.97 > before
