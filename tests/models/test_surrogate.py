"""The surrogate: exact on what it can express."""

import numpy as np

from nasgen.models.surrogate import fit_surrogate, predict

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
