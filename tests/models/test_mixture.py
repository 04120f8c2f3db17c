"""The mixture against SciPy, and its samples against the mixture."""

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from nasgen.models import mixture

MEANS = np.array([[-3.0, 0.0], [3.0, 1.0], [0.0, 5.0]])
SHARES = (0.5, 0.3, 0.2)
NUM = 2000


@pytest.fixture(scope="module")
def labelled():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, NUM, p=SHARES)
    mixing = np.array([[0.6, 0.3], [0.0, 0.5]])
    conditions = MEANS[labels] + rng.normal(size=(NUM, 2)) @ mixing
    return labels, conditions.astype(np.float32)


@pytest.fixture(scope="module")
def fitted(labelled):
    return mixture.fit_mixture(labelled[1], 3, seed=0)


def test_fit_finds_the_clusters_heaviest_first(labelled, fitted):
    labels, conditions = labelled
    np.testing.assert_allclose(fitted.means, MEANS, atol=0.15)
    np.testing.assert_allclose(fitted.weights, SHARES, atol=0.04)
    assert np.mean(np.asarray(mixture.assign(fitted, conditions)) == labels) > 0.99


def test_mixture_is_plain_float32_arrays(fitted):
    assert all(type(part) is np.ndarray and part.dtype == np.float32 for part in fitted)
    assert [part.shape for part in fitted] == [(3,), (3, 2), (3, 2, 2)]


def test_same_seed_same_mixture(labelled, fitted):
    again = mixture.fit_mixture(labelled[1], 3, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(again, fitted, strict=True))


def test_component_log_probs_add_up_to_the_density(labelled, fitted):
    conditions = labelled[1][:50]
    densities = sum(
        weight * multivariate_normal(mean, covariance).pdf(conditions)
        for weight, mean, covariance in zip(*fitted, strict=True)
    )
    logs = np.asarray(mixture.component_log_probs(fitted, conditions))
    found = np.logaddexp.reduce(logs, axis=1)
    np.testing.assert_allclose(found, np.log(densities), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("cluster", range(3))
def test_samples_have_the_clusters_moments(fitted, cluster):
    draws = np.asarray(mixture.sample(jax.random.key(1), fitted, np.full(4000, cluster)))
    np.testing.assert_allclose(draws.mean(0), fitted.means[cluster], atol=0.06)
    np.testing.assert_allclose(np.cov(draws.T), fitted.covariances[cluster], atol=0.06)
    assert np.mean(np.asarray(mixture.assign(fitted, draws)) == cluster) > 0.99


def test_bad_input_is_named(labelled):
    conditions = labelled[1][:10]
    with pytest.raises(ValueError, match=r"`num_components` must be in 1..10.*got 11"):
        mixture.fit_mixture(conditions, 11, seed=0)
    with pytest.raises(ValueError, match="`conditions` must be finite"):
        mixture.fit_mixture(np.full_like(conditions, np.nan), 2, seed=0)
